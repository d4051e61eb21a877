// ---- The timeline: a bar an attempt, and before it, dashed, how long the task waited though all it needs was there.

const LEAST_BAR = 3; // pixels
const SIGNED_BAR = 16; // pixels of a bar that has room for a sign

class Timeline {
  constructor(store, select) {
    this.store = store;
    this.ids = store.ids;
    this.axis = make("div", "dagy-axis");
    set(this.axis, { "aria-hidden": "true" });
    this.rows = new Rows({
      label: "Timeline of the tasks, by start", height: 26, tallest: 364, draw: (row, id, isNew) => this.drawRow(row, id, isNew),
      choose: select, move: (id) => this.tell(id),
    });
    this.rows.element.classList.add("dagy-bars");
    this.details = make("div", "dagy-details");
    this.element = make("div", "dagy-timeline", this.axis, this.rows.element, this.details);
    this.rows.element.addEventListener("pointermove", (event) => {
      const row = event.target.closest(".dagy-row");
      if (row) this.tell(row.dataset.task);
    });
    this.rows.element.addEventListener("pointerleave", () => this.tell(null));
    this.rows.element.addEventListener("blur", () => this.tell(null));
    this.tell(null);
  }

  leave() {
    this.rows.leave();
  }

  draw(matching) {
    const { store } = this;
    const first = (id) => store.tasks[id].attempts[0]?.[0] ?? store.tasks[id].started ?? Infinity;
    const places = new Map(store.ids.map((id, place) => [id, place]));
    const ids = store.ids.filter((id) => !matching || matching.has(id)).sort((a, b) => {
      const [from, to] = [first(a), first(b)];
      return from === to ? places.get(a) - places.get(b) : from - to;
    });
    this.start = store.run.started || 0;
    this.end = Math.max(this.start + 1, store.run.ended || (store.run.started ? store.now : 0));
    this.drawAxis();
    this.rows.show(ids);
    if (this.told) this.tell(this.told);
  }

  drawAxis() {
    const span = this.end - this.start;
    const step = stepOf(span, Math.max(2, Math.floor((this.rows.element.clientWidth - 180) / 110)));
    const key = `${step} ${Math.round(span / step * 50)}`;
    if (this.axisKey === key) return;
    this.axisKey = key;
    const ticks = [];
    for (let at = 0; at <= span && ticks.length < 50; at += step) {
      const tick = make("span", "dagy-tick", at ? duration(at) : "0");
      tick.style.left = `${((100 * at) / span).toFixed(2)}%`;
      if (at / span > 0.93) tick.classList.add("dagy-tick-last");
      ticks.push(tick);
    }
    this.axis.replaceChildren(make("div", "dagy-axis-inner", ...ticks));
    this.rows.element.style.setProperty("--dagy-tick", `${((100 * step) / span).toFixed(3)}%`);
  }

  // When all that the task needs was there, and which of that came last.
  readiness(id) {
    const { store } = this;
    let [at, last] = [store.run.started, null];
    for (const need of store.needs(id)) {
      const { ended } = store.tasks[need];
      if (ended && ended > at) [at, last] = [ended, need];
    }
    return { at, last };
  }

  drawRow(row, id, isNew) {
    const { store } = this;
    const task = store.tasks[id];
    if (isNew) {
      const name = make("span", "dagy-bar-name", store.nameOf(id));
      row.append(make("span", "dagy-task-badge"), name, make("span", "dagy-lane"));
    }
    row.dataset.state = task.state;
    drawBadge(row.children[0], store.looks, task.state);
    set(row, { "aria-label": this.wordsOf(id) });
    const lane = row.children[2];
    const at = (time) => (100 * (Math.min(time, this.end) - this.start)) / (this.end - this.start);
    const parts = [];
    const put = (className, from, to) => {
      const part = make("span", className);
      part.style.left = `${at(from).toFixed(3)}%`;
      part.style.width = `${Math.max(0, at(to) - at(from)).toFixed(3)}%`;
      parts.push(part);
      return part;
    };
    const hasRoom = (from, to) => ((at(to) - at(from)) / 100) * this.axis.firstChild.clientWidth >= SIGNED_BAR;
    const begun = task.attempts[0]?.[0];
    const ready = this.readiness(id).at;
    if (begun && ready && begun > ready) put("dagy-wait", ready, begun);
    task.attempts.forEach(([from, to, state]) => {
      const bar = put("dagy-bar", from, to || this.end);
      bar.dataset.state = state;
      bar.style.minWidth = `${LEAST_BAR}px`;
      const isTelling = task.attempts.length > 1 || BAD.has(state);
      if (isTelling && hasRoom(from, to || this.end)) bar.append(make("span", "dagy-bar-sign", store.looks[state].sign));
    });
    if (begun && parts.length) {
      const text = make("span", "dagy-bar-time", store.timeOf(task));
      const last = task.attempts.at(-1)[0];
      text.style.left = `max(${at(task.ended || this.end).toFixed(3)}%, ${at(last).toFixed(3)}% + ${LEAST_BAR}px)`;
      parts.push(text);
    }
    lane.replaceChildren(...parts);
  }

  wordsOf(id) {
    const { store } = this;
    const task = store.tasks[id];
    const words = [`${store.nameOf(id)}: ${store.wordsOf(id)}`];
    if (task.started) words.push(`began after ${duration(task.started - this.start)}`, `took ${store.timeOf(task)}`);
    const { at, last } = this.readiness(id);
    if (task.started && task.started - at >= 1) words.push(`waited ${duration(task.started - at)}${last ? ` after ${store.nameOf(last)}` : ""}`);
    const tries = task.attempts.length > 1 ? task.attempts.map(([from, to, state], index) => `${index + 1}: ${store.looks[state].label} ${duration((to || store.now) - from)}`) : [];
    if (tries.length) words.push(`attempts ${tries.join(", ")}`);
    return words.join(" · ");
  }

  tell(id) {
    this.told = id;
    say(this.details, id && this.store.tasks[id] ? this.wordsOf(id) : "A bar is an attempt; a dashed line, waiting although all that is needed was there.");
  }
}

// Time between two ticks, in milliseconds: a round one that gives at most `most` of them.
function stepOf(span, most) {
  const round = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3];
  return round.find((step) => span / step <= most) || Math.ceil(span / most / 3600e3) * 3600e3;
}
