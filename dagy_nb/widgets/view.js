// ---- The whole view: header, counts, graph or timeline, tasks, panel, form.

const NARROW = 760; // pixels below which the panel stands under the list
const TICK_MS = 250;
const SPEAK_MS = 2000; // at least, between two announcements
const FIT_FORM = 6; // parameters that stay in view without being folded

class View {
  // Draw the run into `el`.
  constructor(store, el, leaving = () => {}) {
    this.store = store;
    this.el = el;
    this.leaving = leaving;
    this.isForm = store.model.get("is_form");
    this.refused = store.problems;
    this.select = (id, how = {}) => this.pick(id, { isTouched: true, ...how });
    this.graph = new Graph(store, this.select);
    this.timeline = new Timeline(store, this.select);
    this.tasks = new TaskList(store, this.select);
    this.panel = new Panel(store, this.select, () => this.closePanel());
    this.form = new Form(store, () => this.submit());
    this.build();
    el.classList.add("dagy-run");
    this.onKey = (event) => this.key(event);
    el.addEventListener("keydown", this.onKey);
    el.dataset.lmSuppressShortcuts = "true"; // keys pressed in the view are not commands to JupyterLab,
    this.onFocus = ({ target }) => { target.dataset.lmSuppressShortcuts = "true"; }; // nor those for whatever has the focus
    el.addEventListener("focusin", this.onFocus);
    this.sizes = new ResizeObserver(() => el.classList.toggle("dagy-narrow", el.clientWidth < NARROW));
    this.sizes.observe(el);
    store.views.add(this);
    this.showTab(this.isForm ? "graph" : store.look.tab);
    this.draw(null);
    this.pick(store.look.selected);
    this.clock = setInterval(() => this.tick(), TICK_MS);
    store.lookForMissed();
  }

  leave() {
    this.store.views.delete(this);
    clearInterval(this.clock);
    clearTimeout(this.speaking);
    this.sizes.disconnect();
    this.el.removeEventListener("keydown", this.onKey);
    this.el.removeEventListener("focusin", this.onFocus);
    for (const part of [this.graph, this.timeline, this.tasks, this.panel]) part.leave();
    this.leaving();
  }

  // ---- what it is made of

  build() {
    const { model } = this.store;
    this.badge = make("span", "dagy-run-badge");
    const title = make("strong", "dagy-title", model.get("flow_name"));
    title.title = model.get("run_id") ? `run ${model.get("run_id")}` : model.get("flow_name");
    this.status = make("span", "dagy-status");
    this.elapsed = make("span", "dagy-elapsed");
    this.cancel = button("dagy-button dagy-cancel", "Cancel", () => this.store.cancel(), { title: "Stop this run" });
    this.fromFailed = button("dagy-button dagy-primary", "Run again from the failed task", () => this.again("failed"), {
      title: "Results of tasks that completed are used again, unless their code or what they need has changed",
    });
    this.fromStart = button("dagy-button", "Run again", () => this.again("start"));
    this.actions = make("div", "dagy-actions", this.cancel, this.fromFailed, this.fromStart);
    const header = make("div", "dagy-header", this.badge, make("div", "dagy-heading", title, this.status), this.elapsed, this.actions);

    this.progress = make("div", "dagy-progress");
    set(this.progress, { role: "progressbar", "aria-label": "tasks and items that have ended", "aria-valuemin": 0 });
    this.message = make("p", "dagy-run-message");
    set(this.message, { role: "status" });

    this.chips = make("div", "dagy-chips");
    set(this.chips, { role: "group", "aria-label": "Show only tasks that are" });
    this.chipOf = new Map();
    this.search = make("input", "dagy-search");
    this.search.type = "search";
    this.search.placeholder = "Search tasks  /";
    this.search.value = this.store.look.query;
    set(this.search, { "aria-label": "Search tasks by name, state and last line", "aria-keyshortcuts": "/", spellcheck: "false" });
    this.search.addEventListener("input", () => {
      this.store.look.query = this.search.value;
      this.filter();
    });
    this.tabs = make("div", "dagy-tabs");
    set(this.tabs, { role: "tablist", "aria-label": "View" });
    const name = uniqueName("view");
    this.panes = { graph: this.graph.element, timeline: this.timeline.element };
    this.tabOf = {};
    for (const [tab, label] of [["graph", "Graph"], ["timeline", "Timeline"]]) {
      this.tabOf[tab] = button("dagy-tab", label, () => this.showTab(tab), { role: "tab", id: `${name}-${tab}-tab`, "aria-controls": `${name}-${tab}` });
      set(this.panes[tab], { role: "tabpanel", id: `${name}-${tab}`, "aria-labelledby": `${name}-${tab}-tab` });
      this.tabs.append(this.tabOf[tab]);
    }
    this.tabs.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      this.showTab(this.store.look.tab === "graph" ? "timeline" : "graph");
      this.tabOf[this.store.look.tab].focus();
      event.preventDefault();
    });
    this.bar = make("div", "dagy-toolbar", this.tabs, this.chips, this.search);

    this.none = make("p", "dagy-none", "No task matches. ", button("dagy-small", "Show all tasks", () => this.clearFilter()));
    this.split = make("div", "dagy-split", make("div", "dagy-list-side", this.tasks.element, this.none), this.panel.element);
    this.spoken = make("div", "dagy-spoken");
    set(this.spoken, { role: "status", "aria-live": "polite" });

    const parts = [header, this.progress, this.message];
    this.folded = make("details", "dagy-parameters", make("summary", "", "Parameters"));
    if (this.isForm) parts.push(make("div", "dagy-open-form", this.form.element), this.graph.element);
    else {
      this.folded.append(this.form.element);
      this.folded.hidden = this.form.isEmpty;
      this.folded.open = this.store.look.isFormOpen ?? false;
      this.folded.addEventListener("toggle", () => { this.store.look.isFormOpen = this.folded.open; });
      parts.push(this.bar, this.graph.element, this.timeline.element, this.split, this.folded);
    }
    this.el.replaceChildren(...parts, this.spoken);
    set(this.el, { role: "region", "aria-label": `${this.isForm ? "Flow" : "Run of"} ${model.get("flow_name")}` });
  }

  showTab(tab) {
    this.store.look.tab = tab;
    for (const [each, pane] of Object.entries(this.panes)) {
      pane.hidden = each !== tab;
      set(this.tabOf[each], { "aria-selected": String(each === tab), tabindex: each === tab ? 0 : -1 });
    }
    this.el.classList.toggle("dagy-on-timeline", tab === "timeline"); // which is a list of the tasks itself
    if (tab === "timeline") this.timeline.draw(this.matching);
    else this.graph.fitFrame();
  }

  // ---- choosing a task

  pick(id, { isTouched = false, isKey = false } = {}) {
    if (id !== null && !this.store.tasks[id]) return;
    const { look } = this.store;
    look.selected = id;
    look.isTouched ||= isTouched;
    this.el.classList.toggle("dagy-has-panel", id !== null);
    this.panel.show(id);
    this.tasks.rows.pick(id);
    this.timeline.rows.pick(id);
    this.graph.pick(id);
    if (isKey && id !== null) {
      this.cameFrom = this.el.contains(document.activeElement) && !this.panel.element.contains(document.activeElement) ? document.activeElement : this.cameFrom;
      this.panel.title.focus({ preventScroll: true });
      this.panel.element.scrollIntoView({ block: "nearest" });
    }
  }

  closePanel() {
    const hadFocus = this.panel.element.contains(document.activeElement);
    this.pick(null, { isTouched: true });
    const list = this.store.look.tab === "timeline" ? this.timeline.rows : this.tasks.rows;
    if (hadFocus) (this.cameFrom?.isConnected ? this.cameFrom : list.element).focus();
  }

  key(event) {
    const isTyping = event.target.matches("input, textarea, select");
    if (event.key === "Escape") {
      if (event.target === this.search && this.search.value) this.clearFilter();
      else if (this.store.look.selected !== null) this.closePanel();
      else if (!leaveToCell(this.el)) return; // whatever is around the view may have it
      event.preventDefault();
    } else if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !this.isForm) {
      event.preventDefault();
      this.search.focus();
    }
    event.stopPropagation();
  }

  // ---- showing only some tasks

  get isFiltered() {
    const { query, states } = this.store.look;
    return Boolean(query.trim() || states.size);
  }

  matches(id) {
    const { look, tasks, looks } = this.store;
    const task = tasks[id];
    if (look.states.size && !look.states.has(task.state)) return false;
    const query = look.query.trim().toLocaleLowerCase();
    const type = this.store.about[id]?.node?.type || "";
    return !query || [this.store.nameOf(id), id, type, looks[task.state].label, lastLine(task)].some((each) => each.toLocaleLowerCase().includes(query));
  }

  filter() {
    const { ids } = this.store;
    this.matching = this.isFiltered ? new Set(ids.filter((id) => this.matches(id))) : null;
    const shown = this.matching ? ids.filter((id) => this.matching.has(id)) : ids;
    this.tasks.rows.show(shown);
    this.none.hidden = shown.length > 0;
    this.timeline.rows.element.hidden = shown.length === 0;
    this.tasks.element.hidden = shown.length === 0;
    this.graph.filter(this.matching);
    if (this.store.look.tab === "timeline") this.timeline.draw(this.matching);
  }

  clearFilter() {
    this.store.look.query = this.search.value = "";
    this.store.look.states.clear();
    this.drawChips();
    this.filter();
    this.search.focus();
  }

  // ---- running

  again(from) {
    if (this.form.isChanged && !this.form.check()) {
      this.folded.open = true;
      return;
    }
    this.store.runAgain(from, this.form.isChanged ? this.form.values() : null);
  }

  submit() {
    if (this.isForm) this.store.start(this.form.values());
    else this.store.runAgain("start", this.form.values());
  }

  // ---- drawing

  // `changed` holds ids; null: all of it.
  draw(changed) {
    const { store } = this;
    this.drawHeader();
    if (!this.isForm) {
      this.drawChips();
      if (changed === null || this.isFiltered) this.filter();
      else if (store.look.tab === "timeline") this.timeline.draw(this.matching);
      if (changed && this.tasks.rows.ids.length) this.tasks.rows.render(changed);
    }
    this.graph.draw(changed);
    if (store.look.selected !== null && (!changed || changed.has(store.look.selected))) this.panel.draw();
    if (this.refused !== store.problems) {
      this.refused = store.problems;
      if (store.problems.length) this.folded.open = true;
      this.form.complain(store.problems);
      this.drawRefusal();
    }
    this.openFirstFailure();
    this.announce();
  }

  // The first failure opens by itself, unless the user is looking at something already.
  openFirstFailure() {
    const { store } = this;
    if (store.look.isTouched || store.look.selected !== null || this.isForm) return;
    const id = store.ids.find((each) => BAD.has(store.tasks[each].state));
    if (id) this.pick(id);
  }

  drawHeader() {
    const { store, isForm } = this;
    const state = store.run.state || "PENDING";
    this.el.dataset.state = state;
    drawBadge(this.badge, store.looks, state);
    say(this.status, isForm ? `not started · ${counted(store.ids.length, "task")}` : store.looks[state].label);
    this.status.dataset.state = state;
    say(this.elapsed, store.timeOf(store.run));
    if (!store.problems.length) say(this.message, isForm && store.isLost ? "The kernel is gone: run the cell again." : store.run.message || "");
    this.message.hidden = !this.message.textContent;
    const hasFailed = store.ids.some((id) => !["COMPLETED", "PENDING"].includes(store.tasks[id].state));
    const mayRun = store.model.get("can_rerun") && store.isFinal && !isForm && !store.isLost;
    const isAsking = store.asked === "run" || store.asked === "rerun";
    this.cancel.hidden = isForm || store.isFinal;
    this.cancel.disabled = store.asked === "cancel";
    say(this.cancel, store.asked === "cancel" ? "Cancelling…" : "Cancel");
    this.fromFailed.hidden = !(mayRun && hasFailed && state !== "COMPLETED");
    this.fromStart.hidden = !mayRun;
    const failures = store.ids.filter((id) => BAD.has(store.tasks[id].state)).length;
    say(this.fromFailed, failures ? `Run again from the failed task${failures > 1 ? "s" : ""}` : "Run the rest again");
    say(this.fromStart, this.fromFailed.hidden ? "Run again" : "Run all again");
    for (const each of [this.fromFailed, this.fromStart, this.form.submit]) each.disabled = isAsking || store.isLost;
    say(this.form.submit, isAsking ? "Starting…" : isForm ? "Run" : "Run again with these");
    this.form.submit.hidden = !isForm && !mayRun;
    this.drawProgress();
  }

  drawProgress() {
    const { done, all } = this.store.progress();
    this.progress.hidden = this.isForm;
    set(this.progress, { "aria-valuenow": done, "aria-valuemax": all, "aria-valuetext": `${done.toLocaleString("en")} of ${all.toLocaleString("en")} ended` });
    const counts = this.store.counts();
    this.parts ||= new Map();
    for (const state of STATE_ORDER) {
      let part = this.parts.get(state);
      if (!part && counts[state]) {
        part = make("span", "dagy-part");
        part.dataset.state = state;
        part.style.order = STATE_ORDER.indexOf(state);
        this.parts.set(state, part);
        this.progress.append(part);
      }
      if (part) part.style.flexGrow = counts[state] || 0;
    }
  }

  drawChips() {
    const { look, looks } = this.store;
    const counts = this.store.counts();
    for (const state of STATE_ORDER) {
      let chip = this.chipOf.get(state);
      if (!chip && !counts[state]) continue;
      if (!chip) {
        chip = button("dagy-chip", "", () => {
          if (!look.states.delete(state)) look.states.add(state);
          this.drawChips();
          this.filter();
        });
        chip.dataset.state = state;
        chip.style.order = STATE_ORDER.indexOf(state);
        chip.append(badge(looks, state), make("b"), make("span", "", looks[state].label));
        this.chipOf.set(state, chip);
        const next = STATE_ORDER.slice(STATE_ORDER.indexOf(state) + 1).map((each) => this.chipOf.get(each)).find(Boolean);
        this.chips.insertBefore(chip, next || null);
      }
      say(chip.children[1], (counts[state] || 0).toLocaleString("en"));
      set(chip, { "aria-pressed": String(look.states.has(state)) });
      chip.hidden = !counts[state] && !look.states.has(state);
    }
  }

  drawRefusal() {
    const { problems } = this.store;
    const why = this.form.isEmpty ? problems.map((each) => each.message).join("; ") : "see the parameters";
    const isTold = this.isForm || !problems.length; // beside the fields, which are in view
    say(this.message, isTold ? this.store.run.message || "" : `This can't be run: ${why}`);
    this.message.hidden = !this.message.textContent;
    this.message.classList.toggle("dagy-refused", problems.length > 0);
  }

  tick() {
    const { store } = this;
    if (store.isFinal || !store.run.started || document.hidden) return;
    say(this.elapsed, store.timeOf(store.run));
    this.tasks.tick();
    this.panel.tick();
    if (store.look.tab === "timeline") this.timeline.draw(this.matching);
  }

  // Say to who listens how the run is, the end at once and all else now and then.
  announce() {
    const { store } = this;
    const counts = store.counts();
    const bad = [...BAD].reduce((sum, state) => sum + (counts[state] || 0), 0);
    const { done, all } = store.progress();
    const words = [
      `${store.model.get("flow_name")}: ${store.looks[store.run.state || "PENDING"].label}`,
      store.isFinal ? "" : `${done} of ${all} ended`, bad ? `${bad} failed` : "",
    ].filter(Boolean).join(", ");
    if (words === this.words || this.isForm) return;
    const isFirst = this.words === undefined;
    this.words = words;
    if (isFirst) return;
    const speak = () => {
      this.speaking = null;
      this.spokenAt = Date.now();
      say(this.spoken, this.words);
    };
    const pause = store.isFinal ? 0 : SPEAK_MS - (Date.now() - (this.spokenAt || 0));
    if (pause <= 0) {
      clearTimeout(this.speaking);
      speak();
    } else this.speaking ??= setTimeout(speak, pause);
  }
}
