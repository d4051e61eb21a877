// ---- The graph: the picture that Dagy has laid out, moved and coloured here.
//
// Pan and zoom are one CSS transform. Only what is in the frame is on the page; all else is kept aside and drawn when it
// comes into view. Where more cards are in view than anybody can read, they are painted as spots.

const LEGIBLE = 0.72; // the least scale at which cards are shown unasked
const MOST_SCALE = 2.5;
const TALLEST = 420; // pixels of the frame
const PAD = 12; // pixels around the picture
const TOOLS = 34; // pixels at the bottom for the buttons, where there is room
const STEP = 60; // pixels that an arrow key moves it
const MAP = { width: 168, height: 108 };
const MOST_CARDS = 500; // in view: above that, spots

class Graph {
  constructor(store, select) {
    this.store = store;
    this.select = select;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.isMoved = false; // by the user: from then on it stays where it is put
    this.stale = new Set(); // ids of cards off the screen that are not drawn as they are
    this.matching = null;
    this.unpainted = null; // ids of what is not painted as it is; null: all
    this.frame = make("div", "dagy-picture");
    set(this.frame, { tabindex: 0, role: "group", "aria-roledescription": "graph" });
    this.readPicture();
    this.buildTools();
    this.element = make("div", "dagy-graph-pane", this.frame, this.map, this.tools);
    this.listen();
    this.sizes = new ResizeObserver(() => this.fitFrame());
    this.sizes.observe(this.frame);
  }

  leave() {
    this.sizes.disconnect();
    cancelAnimationFrame(this.painting);
  }

  readPicture() {
    const inert = document.createElement("template");
    inert.innerHTML = this.store.model.get("picture"); // made by Dagy, every text in it escaped
    this.svg = inert.content.querySelector("svg");
    this.width = Number(this.svg?.getAttribute("width")) || 0;
    this.height = Number(this.svg?.getAttribute("height")) || 0;
    this.isDown = this.svg?.dataset.direction === "down";
    set(this.frame, { "aria-label": `Graph of ${this.store.model.get("flow_name")}, ${counted(this.store.ids.length, "task")}` });
    this.nodes = new Map();
    this.edges = [];
    if (!this.svg) return;
    set(this.svg, { role: "group", "aria-label": "tasks" });
    for (const each of this.svg.querySelectorAll(".dagy-group, .dagy-edge")) each.setAttribute("aria-hidden", "true");
    for (const element of this.svg.querySelectorAll(".dagy-node")) {
      const id = element.dataset.task;
      if (!this.store.tasks[id]) continue;
      const card = element.querySelector(".dagy-card");
      const [x, y] = element.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
      const box = { x, y, width: Number(card.getAttribute("width")), height: Number(card.getAttribute("height")) };
      set(element, { role: "button", tabindex: this.nodes.size ? -1 : 0, "aria-pressed": "false" });
      this.nodes.set(id, { element, box, icon: element.querySelector(".dagy-icon"), detail: element.querySelector(".dagy-detail") });
    }
    for (const element of this.svg.querySelectorAll(".dagy-edge")) {
      const { from, to } = element.dataset;
      if (!this.nodes.has(from) || !this.nodes.has(to)) continue;
      this.edges.push({ element, from, to, box: boxAround(this.nodes.get(from).box, this.nodes.get(to).box) });
    }
    this.lines = svgElement("g", { "aria-hidden": "true" });
    this.cards = svgElement("g", {});
    for (const each of [...this.edges, ...this.nodes.values()]) each.element.remove();
    this.svg.append(this.lines, this.cards);
    this.spots = make("canvas", "dagy-spots");
    set(this.spots, { "aria-hidden": "true" });
    this.spots.hidden = true;
    this.frame.append(this.svg, this.spots);
    this.current = this.nodes.keys().next().value; // the card that Tab goes to
  }

  buildTools() {
    const tool = (name, label, action) => {
      const made = button("dagy-tool", "", action, { "aria-label": label, title: label });
      made.append(glyph(name));
      return made;
    };
    this.zoomed = make("span", "dagy-zoomed");
    this.tools = make(
      "div", "dagy-tools",
      tool("minus", "Zoom out", () => this.zoom(1 / 1.25)), this.zoomed, tool("plus", "Zoom in", () => this.zoom(1.25)),
      tool("fit", "Fit the whole graph", () => this.fit()),
    );
    set(this.tools, { role: "group", "aria-label": "Zoom" });
    this.mapView = make("div", "dagy-minimap-view");
    this.map = make("div", "dagy-minimap", set(make("canvas"), { width: MAP.width * 2, height: MAP.height * 2 }), this.mapView);
    set(this.map, { "aria-hidden": "true" });
    this.map.hidden = true;
  }

  listen() {
    this.frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the notebook's page scrolls
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), this.at(event));
    }, { passive: false });
    this.frame.addEventListener("pointerdown", (event) => this.press(event));
    this.frame.addEventListener("click", (event) => {
      const node = event.target.closest(".dagy-node");
      if (this.wasDragged) return;
      if (node) this.select(node.dataset.task);
      else if (event.target === this.spots) this.selectAt(...this.at(event));
    });
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("focusin", (event) => {
      const id = event.target.closest(".dagy-node")?.dataset.task;
      if (id && event.target.matches(":focus-visible")) this.reveal(id);
    });
    this.frame.addEventListener("scroll", () => this.frame.scrollTo(0, 0)); // the browser's own, to what has the focus
    const jump = (event) => {
      if (!event.buttons) return;
      const box = this.map.getBoundingClientRect();
      const { factor, left, top } = this.mapShape();
      const x = ((event.clientX - box.left) * (MAP.width / box.width) - left) / factor;
      const y = ((event.clientY - box.top) * (MAP.height / box.height) - top) / factor;
      this.move(this.frame.clientWidth / 2 - x * this.scale, this.frame.clientHeight / 2 - y * this.scale);
    };
    this.map.addEventListener("pointerdown", (event) => {
      this.map.setPointerCapture(event.pointerId);
      jump(event);
    });
    this.map.addEventListener("pointermove", jump);
  }

  // A press that goes more than a few pixels is a drag, and no click.
  press(event) {
    if (event.button !== 0) return;
    this.wasDragged = false;
    const from = { x: event.clientX, y: event.clientY, left: this.x, top: this.y };
    const drag = (moved) => {
      const [dx, dy] = [moved.clientX - from.x, moved.clientY - from.y];
      if (!this.wasDragged && Math.hypot(dx, dy) < 4) return;
      if (!this.wasDragged) this.frame.setPointerCapture(event.pointerId);
      this.wasDragged = true;
      this.frame.classList.add("dagy-dragging");
      this.move(from.left + dx, from.top + dy);
    };
    const end = () => {
      this.frame.classList.remove("dagy-dragging");
      for (const each of ["pointermove", "pointerup", "pointercancel"]) this.frame.removeEventListener(each, each === "pointermove" ? drag : end);
    };
    this.frame.addEventListener("pointermove", drag);
    this.frame.addEventListener("pointerup", end);
    this.frame.addEventListener("pointercancel", end);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const id = event.target.closest(".dagy-node")?.dataset.task;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const zooms = { "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(1 / 1.25), 0: () => this.fit() };
    if (event.key in arrows) {
      const [dx, dy] = arrows[event.key];
      if (!id || event.shiftKey) this.move(this.x - dx * STEP, this.y - dy * STEP);
      else this.focus(this.neighbour(id, dx, dy));
    } else if (event.key in zooms) zooms[event.key]();
    else if (id && (event.key === "Enter" || event.key === " ")) this.select(id, { isKey: true });
    else if (id && event.key === "Home") this.focus(this.nodes.keys().next().value);
    else if (id && event.key === "End") this.focus([...this.nodes.keys()].at(-1));
    else return;
    event.preventDefault();
  }

  // Along the lines, arrows go to what a task needs or what needs it; across them, to the next card.
  neighbour(id, dx, dy) {
    const middle = ({ x, y, width, height }) => [x + width / 2, y + height / 2];
    const [x0, y0] = middle(this.nodes.get(id).box);
    const along = this.isDown ? dy : dx;
    const linked = along > 0 ? this.store.users[id] : this.store.needs(id);
    const others = along ? linked : [...this.nodes.keys()];
    let best = null;
    let least = Infinity;
    for (const other of others) {
      if (other === id || !this.nodes.has(other)) continue;
      const [x, y] = middle(this.nodes.get(other).box);
      const [ahead, aside] = along ? [0, Math.abs(this.isDown ? x - x0 : y - y0)] : this.isDown ? [(x - x0) * dx, Math.abs(y - y0)] : [(y - y0) * dy, Math.abs(x - x0)];
      if (!along && ahead <= 0) continue;
      const far = along ? aside : ahead + 4 * aside;
      if (far < least) [best, least] = [other, far];
    }
    return best;
  }

  focus(id) {
    const node = this.nodes.get(id);
    if (!node) return;
    this.makeCurrent(id);
    this.reveal(id);
    node.element.focus({ preventScroll: true });
  }

  makeCurrent(id) {
    if (!this.nodes.has(id)) return;
    this.nodes.get(this.current)?.element.setAttribute("tabindex", "-1");
    this.current = id;
    this.nodes.get(id).element.setAttribute("tabindex", "0");
  }

  // ---- place

  get limits() {
    const fitting = Math.min(1, (this.frame.clientWidth - 2 * PAD) / this.width, (TALLEST - 2 * PAD - TOOLS) / this.height);
    return { least: Math.min(fitting, 0.5), fitting };
  }

  // Made as high as the picture needs, up to a limit; the picture put at its start, unless the user has moved it.
  fitFrame() {
    if (!this.svg || !this.frame.clientWidth) return;
    const across = Math.min(1, (this.frame.clientWidth - 2 * PAD) / this.width);
    const scale = this.isMoved ? this.scale : Math.max(across, LEGIBLE);
    if (!this.isMoved) this.setHeight(scale);
    this.scale = scale;
    this.place(this.isMoved ? this.x : PAD, this.isMoved ? this.y : PAD);
  }

  fit() {
    this.scale = this.limits.fitting;
    this.setHeight(this.scale);
    this.move(PAD, PAD);
  }

  setHeight(scale) {
    this.frame.style.height = `${Math.round(Math.min(TALLEST, this.height * scale + 2 * PAD + TOOLS))}px`;
  }

  zoom(factor, at = [this.frame.clientWidth / 2, this.frame.clientHeight / 2]) {
    const before = this.scale;
    this.scale = Math.min(MOST_SCALE, Math.max(this.limits.least, before * factor));
    const [x, y] = at;
    this.move(x - ((x - this.x) * this.scale) / before, y - ((y - this.y) * this.scale) / before);
  }

  move(x, y) {
    this.isMoved = true;
    this.place(x, y);
  }

  at(event) {
    const box = this.frame.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Put the picture there, as far as that leaves no needless room beside it.
  place(x, y) {
    const held = (value, size, room) => (size <= room - 2 * PAD + 1 ? (room - size) / 2 : Math.min(PAD, Math.max(room - size - PAD, value)));
    this.x = held(x, this.width * this.scale, this.frame.clientWidth);
    const isLow = this.height * this.scale <= this.frame.clientHeight - 2 * PAD - TOOLS + 1;
    this.y = held(y, this.height * this.scale, this.frame.clientHeight - (isLow ? TOOLS : 0));
    this.svg.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    say(this.zoomed, `${Math.round(this.scale * 100)} %`);
    this.lookAround();
    this.placeMap();
    if (!this.spots.hidden) this.paintSoon(null);
    else if (this.unpainted === null) this.paintSoon(new Set());
  }

  // Put on the page what is in the frame, and nothing else.
  lookAround() {
    const left = -this.x / this.scale;
    const top = -this.y / this.scale;
    const right = left + this.frame.clientWidth / this.scale;
    const bottom = top + this.frame.clientHeight / this.scale;
    const isIn = ({ box: { x, y, width, height } }) => x < right && y < bottom && x + width > left && y + height > top;
    const seen = [...this.nodes.values()].filter(isIn);
    const isSpots = seen.length > MOST_CARDS;
    this.spots.hidden = !isSpots;
    if (this.cards.contains(document.activeElement) && (isSpots || !seen.some((each) => each.element === document.activeElement))) this.frame.focus({ preventScroll: true });
    keepOnly(this.cards, isSpots ? [] : seen);
    keepOnly(this.lines, isSpots ? [] : this.edges.filter(isIn));
    for (const id of this.stale) if (this.nodes.get(id).element.isConnected) this.drawCard(id);
    if (!seen.includes(this.nodes.get(this.current)) && seen.length) this.makeCurrent(seen[0].element.dataset.task);
  }

  selectAt(x, y) {
    const [left, top] = [(x - this.x) / this.scale, (y - this.y) / this.scale];
    let best = null;
    let least = Infinity;
    for (const [id, { box }] of this.nodes) {
      const far = Math.hypot(left - box.x - box.width / 2, top - box.y - box.height / 2);
      if (far < least) [best, least] = [id, far];
    }
    if (best !== null) this.select(best);
  }

  reveal(id) {
    const node = this.nodes.get(id);
    if (!node || !this.frame.clientWidth) return;
    const { x, y, width, height } = node.box;
    const shift = (at, size, room) => (at < PAD ? PAD - at : Math.min(0, room - PAD - at - size));
    const dx = shift(x * this.scale + this.x, width * this.scale, this.frame.clientWidth);
    const dy = shift(y * this.scale + this.y, height * this.scale, this.frame.clientHeight);
    if (dx || dy) this.move(this.x + dx, this.y + dy);
  }

  // ---- drawing

  draw(changed) {
    for (const id of changed || this.store.ids) {
      const node = this.nodes.get(id);
      if (!node) continue;
      if (node.element.isConnected) this.drawCard(id);
      else this.stale.add(id);
    }
    this.paintSoon(changed);
  }

  drawCard(id) {
    this.stale.delete(id);
    const { element, icon, detail, box } = this.nodes.get(id);
    const { store } = this;
    const task = store.tasks[id];
    if (element.dataset.state !== task.state) element.dataset.state = task.state;
    icon?.setAttribute("d", store.looks[task.state].icon);
    const items = itemsOf(task);
    const ended = FINAL.has(task.state) && [store.timeOf(task), task.attempt > 1 ? `×${task.attempt}` : ""].filter(Boolean).join(" ");
    if (detail) say(detail, items || ended || store.looks[task.state].label);
    const others = (ids, word) => (ids.length ? `${word} ${ids.slice(0, 3).map((each) => store.nameOf(each)).join(", ")}${ids.length > 3 ? ` and ${ids.length - 3} more` : ""}` : "");
    const words = [`${store.nameOf(id)}: ${store.wordsOf(id)}`, others(store.needs(id), "needs"), others(store.users[id], "used by")];
    const node = store.about[id]?.node;
    const ports = (some, word) => (some.length ? `${word} ${some.map(wordsOfPort).join(", ")}` : "");
    if (node) words.push(ports(node.inbound, "takes"), ports(node.outbound, "gives"));
    element.setAttribute("aria-label", words.filter(Boolean).join("; "));
    if (task.items?.count) this.drawItems(id, element, box, task);
  }

  // A thin bar on the card of a mapped task: its items by state.
  drawItems(id, element, box, task) {
    const parts = itemsByState(task);
    let bar = element.querySelector(".dagy-items");
    if (!bar) {
      bar = svgElement("g", { class: "dagy-items", "aria-hidden": "true" });
      for (const [state] of parts) bar.append(svgElement("rect", { height: 4, y: box.height - 2, "data-state": state }));
      element.insertBefore(bar, element.querySelector(".dagy-port"));
    }
    let x = 12;
    [...bar.children].forEach((rect, index) => {
      const width = ((box.width - 24) * Math.min(task.items.count, parts[index][1])) / task.items.count;
      set(rect, { x: x.toFixed(1), width: width.toFixed(1) });
      x += width;
    });
  }

  pick(id) {
    for (const [each, { element }] of this.nodes) set(element, { "aria-pressed": each === id ? "true" : "false" });
    const above = this.reached(id, (each) => this.store.needs(each));
    const below = this.reached(id, (each) => this.store.users[each]);
    this.svg?.classList.toggle("dagy-picking", Boolean(id) && this.nodes.has(id));
    for (const { element, from, to } of this.edges) {
      element.classList.toggle("dagy-up", above.has(to) && above.has(from));
      element.classList.toggle("dagy-down", below.has(from) && below.has(to));
    }
    if (!this.nodes.has(id)) return;
    this.makeCurrent(id);
    this.reveal(id);
  }

  reached(id, next) {
    const found = new Set(id && this.nodes.has(id) ? [id] : []);
    for (const each of found) for (const other of next(each)) found.add(other);
    return found;
  }

  // Tasks that are not among `matching` are dimmed; null: none is.
  filter(matching) {
    if (!matching && !this.matching) return;
    for (const [id, { element }] of this.nodes) element.classList.toggle("dagy-dim", Boolean(matching) && !matching.has(id));
    this.svg?.classList.toggle("dagy-filtered", Boolean(matching));
    this.matching = matching;
    this.paintSoon(null);
  }

  // ---- the small map

  mapShape() {
    const factor = Math.min((MAP.width - 12) / this.width, (MAP.height - 12) / this.height);
    return { factor, left: (MAP.width - this.width * factor) / 2, top: (MAP.height - this.height * factor) / 2 };
  }

  placeMap() {
    const { clientWidth, clientHeight } = this.frame;
    const isNeeded = Boolean(clientWidth) && (this.width * this.scale > clientWidth + 1 || this.height * this.scale > clientHeight + 1);
    if (this.map.hidden === isNeeded) this.map.hidden = !isNeeded;
    if (!isNeeded) return;
    const { factor, left, top } = this.mapShape();
    const edge = (value, most) => Math.min(most, Math.max(0, value));
    const x = edge(-this.x / this.scale, this.width);
    const y = edge(-this.y / this.scale, this.height);
    const width = edge((clientWidth - this.x) / this.scale, this.width) - x;
    const height = edge((clientHeight - this.y) / this.scale, this.height) - y;
    Object.assign(this.mapView.style, {
      left: `${left + x * factor}px`, top: `${top + y * factor}px`, width: `${Math.max(5, width * factor)}px`, height: `${Math.max(4, height * factor)}px`,
    });
  }

  // Paint these tasks, in the small map and among the spots, before the next frame; null: all of them.
  paintSoon(changed) {
    if (changed === null || this.unpainted === null) this.unpainted = null;
    else for (const id of changed) this.unpainted.add(id);
    if (!this.map.hidden || !this.spots.hidden) this.painting ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    const changed = this.unpainted;
    [this.painting, this.unpainted] = [0, new Set()];
    const style = getComputedStyle(this.frame);
    const colours = { line: style.getPropertyValue("--dagy-pending") };
    for (const state of STATE_ORDER) colours[state] = style.getPropertyValue(`--dagy-${state.toLowerCase().replace("_", "-")}`);
    const { factor, left, top } = this.mapShape();
    const pen = this.map.firstChild.getContext("2d");
    pen.setTransform(2, 0, 0, 2, 0, 0);
    if (!changed) pen.clearRect(0, 0, MAP.width, MAP.height);
    this.paintNodes(pen, colours, changed, left, top, factor);
    if (this.spots.hidden) return;
    const spots = this.spots.getContext("2d");
    if (!changed) this.paintLines(spots, colours);
    this.paintNodes(spots, colours, changed, this.x, this.y, this.scale);
  }

  paintLines(pen, colours) {
    const { clientWidth, clientHeight } = this.frame;
    const sharpness = Math.min(2, devicePixelRatio || 1);
    this.spots.width = clientWidth * sharpness;
    this.spots.height = clientHeight * sharpness;
    pen.setTransform(sharpness, 0, 0, sharpness, 0, 0);
    pen.strokeStyle = colours.line;
    pen.globalAlpha = 0.35;
    pen.beginPath();
    const middle = ({ x, y, width, height }) => [this.x + (x + width / 2) * this.scale, this.y + (y + height / 2) * this.scale];
    for (const { from, to } of this.edges) {
      pen.moveTo(...middle(this.nodes.get(from).box));
      pen.lineTo(...middle(this.nodes.get(to).box));
    }
    pen.stroke();
  }

  paintNodes(pen, colours, changed, left, top, factor) {
    for (const id of changed || this.nodes.keys()) {
      if (!this.nodes.has(id)) continue;
      const { box } = this.nodes.get(id);
      const place = [left + box.x * factor, top + box.y * factor, Math.max(1.5, box.width * factor), Math.max(1.5, box.height * factor)];
      const isDim = this.matching && !this.matching.has(id);
      if (isDim) pen.clearRect(...place);
      pen.globalAlpha = isDim ? 0.2 : 1;
      pen.fillStyle = colours[this.store.tasks[id].state];
      pen.fillRect(...place);
    }
  }
}

// The elements of `things`, in their order, become the children of `layer`; those that stay are not touched.
function keepOnly(layer, things) {
  const wanted = new Set(things.map((each) => each.element));
  for (const child of [...layer.children]) if (!wanted.has(child)) child.remove();
  let next = layer.firstChild;
  for (const element of wanted) {
    if (element === next) next = next.nextSibling;
    else layer.insertBefore(element, next);
  }
}

function boxAround(first, second) {
  const x = Math.min(first.x, second.x);
  const y = Math.min(first.y, second.y);
  return {
    x, y, width: Math.max(first.x + first.width, second.x + second.width) - x, height: Math.max(first.y + first.height, second.y + second.height) - y,
  };
}
