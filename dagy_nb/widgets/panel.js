// ---- The panel of a task: how it is, where it failed, what it printed, showed and returned, and its neighbours.

const MOST_JOINED = 6; // tasks at one connector that are named

class Panel {
  constructor(store, select, close) {
    this.store = store;
    this.select = select;
    this.id = null;
    this.element = make("section", "dagy-panel");
    this.element.hidden = true;
    this.close = close;
    this.marked = null;
  }

  leave() {
    clearTimeout(this.marked?.timer);
    this.marked?.cell.classList.remove("dagy-marked-cell");
  }

  show(id) {
    this.element.hidden = id === null;
    if (id === this.id) return;
    this.id = id;
    this.element.replaceChildren();
    if (id === null) return;
    this.build(id);
    this.draw();
  }

  build(id) {
    const { store } = this;
    const about = store.about[id] || {};
    this.element.dataset.task = id;
    set(this.element, { "aria-label": `Task ${store.nameOf(id)}` });
    this.badge = make("span", "dagy-task-badge");
    this.title = make("strong", "dagy-panel-title", store.nameOf(id));
    this.title.title = id;
    this.title.tabIndex = -1;
    this.state = make("span", "dagy-panel-state");
    this.time = make("span", "dagy-task-time");
    const closing = button("dagy-tool", "", () => this.close(), { "aria-label": "Close the task's panel", title: "Close (Escape)" });
    closing.append(glyph("close"));
    const head = make("div", "dagy-panel-head", this.badge, this.title, this.state, this.time, closing);

    this.found = make("span", "dagy-found");
    set(this.found, { role: "status" });
    const facts = make("div", "dagy-facts", about.cell ? this.cellButton(about.cell) : null, about.cell ? this.found : null);
    const joined = (ports = []) => new Set(ports.flatMap((port) => port.joined.map(({ task }) => task)));
    const [from, to] = [joined(about.node?.inbound), joined(about.node?.outbound)];
    for (const [word, ids] of [["Needs", store.needs(id).filter((each) => !from.has(each))], ["Used by", store.users[id].filter((each) => !to.has(each))]]) {
      if (ids.length) facts.append(this.links(word, ids));
    }
    this.body = make("div", "dagy-panel-body");
    this.parts = {};
    for (const name of ["message", "items", "error", "faults", "log", "shown", "result", "nothing"]) {
      this.parts[name] = make("div", `dagy-part-${name}`);
      this.body.append(this.parts[name]);
    }
    this.keys = {};
    this.log = new Log(`Log of ${store.nameOf(id)}`);
    this.element.append(head, facts, ...(about.node ? [this.nodeElement(about.node)] : []), this.body);
  }

  // What a node is, what is joined to its connectors, and how it is set.
  nodeElement({ type, category, inbound, outbound, settings }) {
    const element = make("dl", "dagy-node-facts");
    const add = (word, rows) => rows.length && element.append(make("dt", "dagy-caption", word), ...rows.map((row) => make("dd", "", ...row)));
    add("Node", [[make("b", "", type), make("span", "dagy-note", category)]]);
    add("In", inbound.map((port) => this.portElements(port, "from")));
    add("Out", outbound.map((port) => this.portElements(port, "to")));
    add("Settings", settings.map(({ name, value, is_secret: isSecret }) => [
      make("span", "dagy-setting", name), make("code", isSecret ? "dagy-secret" : "", value), isSecret ? make("span", "dagy-note", "a secret") : null,
    ]));
    return element;
  }

  portElements(port, way) {
    const shape = svgElement("svg", { viewBox: "-7 -7 14 14", width: 13, height: 13, class: "dagy-connector", "data-kind": port.kind, "aria-hidden": "true" });
    shape.append(svgElement("path", { d: port.shape }));
    const some = port.joined.slice(0, MOST_JOINED).map(({ task, words }) => button("dagy-link", words, () => this.select(task, { isKey: true })));
    const more = port.joined.length - some.length;
    const ends = [...some, ...(more > 0 ? [make("span", "dagy-note", `and ${counted(more, "more").replace(/s$/, "")}`)] : [])];
    return [shape, make("span", "", port.label), make("span", "dagy-note", port.types), ...(some.length ? [make("span", "dagy-note", way), ...ends] : [])];
  }

  links(word, ids) {
    const holder = make("div", "dagy-links", make("span", "dagy-caption", word));
    const add = (some) => {
      for (const id of some) holder.append(button("dagy-link", this.store.nameOf(id), () => this.select(id, { isKey: true })));
    };
    add(ids.slice(0, 8));
    if (ids.length > 8) {
      const more = button("dagy-small", `${counted(ids.length - 8, "more")}`.replace(/s$/, ""), () => {
        more.remove();
        add(ids.slice(8));
      });
      holder.append(more);
    }
    return holder;
  }

  cellButton(cell) {
    const label = cell.label || (cell.number ? `cell [${cell.number}]` : "its cell");
    const made = button("dagy-small", "", () => this.goTo(cell, label), { title: "Show the cell of this task in the notebook" });
    made.append(glyph("cell"), `Go to ${label}`);
    return made;
  }

  goTo(cell, label) {
    this.leave();
    const found = findCell(cell);
    say(this.found, found ? "" : `${label} is not on this page just now: scroll the notebook to it.`);
    if (!found) return;
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    found.scrollIntoView({ block: "start", behavior: isCalm ? "auto" : "smooth" });
    found.classList.add("dagy-marked-cell");
    const timer = setTimeout(() => found.classList.remove("dagy-marked-cell"), 2400);
    this.marked = { cell: found, timer };
  }

  // ---- drawing

  draw() {
    if (this.id === null) return;
    const { store, id } = this;
    const task = store.tasks[id];
    this.element.dataset.state = task.state;
    drawBadge(this.badge, store.looks, task.state);
    say(this.state, store.wordsOf(id));
    this.tick();
    const isTold = plain(task.error).trimEnd().endsWith(task.message); // by the traceback
    this.part("message", !isTold && task.message, () => [make("p", "dagy-message", task.message)]);
    this.part("items", task.items, () => [itemsBar(task)]);
    this.part("error", task.error, () => [captioned("Error", make("pre", "dagy-error", plain(task.error)))]);
    this.part("faults", task.faults?.length ? task.faults : null, () => [faultsElement(task)]);
    if (task.log.length !== 0) {
      if (!this.log.element.isConnected) this.parts.log.replaceChildren(this.log.element);
      this.log.draw(task.log, FINAL.has(task.state));
    } else this.parts.log.replaceChildren();
    this.part("shown", task.shown.length ? task.shown.map(markOf) : null, () => [
      captioned(task.shown.length > 1 ? "Displays" : "Display", ...task.shown.map((each) => previewElement(each, `shown by ${store.nameOf(id)}`))),
    ]);
    this.part("result", task.preview && markOf(task.preview), () => [
      captioned("Result", previewElement(task.preview, `result of ${store.nameOf(id)}`)),
    ]);
    const isEmpty = !(task.message || task.log.length || task.shown.length || task.error || task.preview || task.items);
    const nothing = isEmpty && (FINAL.has(task.state) ? "No output." : "No output yet.");
    this.part("nothing", nothing, () => [make("p", "dagy-message", nothing)]);
  }

  tick() {
    if (this.id !== null) say(this.time, this.store.timeOf(this.store.tasks[this.id]));
  }

  // Draw a part anew if what it shows has changed; empty, if that is nothing.
  part(name, shown, draw) {
    const key = shown ? JSON.stringify(shown) : "";
    if ((this.keys[name] || "") === key) return;
    this.keys[name] = key;
    this.parts[name].replaceChildren(...(key ? draw() : []));
  }
}

function captioned(caption, ...parts) {
  return make("div", "dagy-captioned", make("div", "dagy-caption", caption), ...parts);
}

// What tells a preview from another, shortly.
function markOf({ content }) {
  return [content.length, content.slice(-60)];
}

function itemsBar(task) {
  const count = task.items.count ?? 0;
  const present = itemsByState(task).filter(([, number]) => number);
  const words = present.map(([, number, word]) => `${number.toLocaleString("en")} ${word}`).join(", ");
  const bar = make("div", "dagy-stack");
  set(bar, { role: "img", "aria-label": `${counted(count, "item")}: ${words}` });
  for (const [state, number] of present) {
    const part = make("span", "dagy-part");
    part.dataset.state = state;
    part.style.flexGrow = number;
    bar.append(part);
  }
  const legend = make("div", "dagy-legend", ...present.map(([state, number, word]) => {
    const each = make("span", "", `${number.toLocaleString("en")} ${word}`);
    each.dataset.state = state;
    return each;
  }));
  return make("div", "", bar, legend);
}

function faultsElement({ faults, items }) {
  const parts = faults.map(({ item, error }, index) => {
    const last = error.trimEnd().split("\n").at(-1);
    const fault = make("details", "dagy-fault", make("summary", "", make("b", "", `Item ${item}`), make("span", "", plain(last))), make("pre", "dagy-error", plain(error)));
    fault.open = index === 0;
    return fault;
  });
  const more = (items?.failed || 0) - faults.length;
  if (more > 0) parts.push(make("p", "dagy-message", `and ${counted(more, "more item")} that failed`));
  return captioned("Items that failed", ...parts);
}

// A cell in JupyterLab or Notebook 7: by its id, or by the number beside it.
function findCell({ id, number }) {
  const byId = id && document.querySelector(`.jp-Cell[data-cell-id="${CSS.escape(id)}"], .jp-Cell[data-id="${CSS.escape(id)}"]`);
  if (byId) return byId;
  if (!number) return null;
  for (const prompt of document.querySelectorAll(".jp-Cell .jp-InputPrompt")) {
    if (prompt.textContent.replace(/\s/g, "") === `[${number}]:`) return prompt.closest(".jp-Cell");
  }
  return null;
}
