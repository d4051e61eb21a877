// ---- A list of many rows, of which only those on the screen are in the page.
//
// One listbox with one row in focus (`aria-activedescendant`); the arrows move it, Enter chooses it.

const SPARE = 6; // rows kept above and below what is seen

class Rows {
  // `draw(row, id, isNew)` fills a row, `choose(id, {isKey})` is told of a click or Enter, `move(id)` of another row in focus.
  constructor({ label, height, tallest, draw, choose, move = () => {} }) {
    Object.assign(this, { height, tallest, draw, choose, move });
    this.ids = [];
    this.shown = new Map();
    this.active = null;
    this.selected = null;
    this.name = uniqueName("rows");
    this.list = make("div", "dagy-rows-list");
    this.element = make("div", "dagy-rows", this.list);
    set(this.element, { role: "listbox", tabindex: 0, "aria-label": label });
    set(this.list, { role: "presentation" });
    this.element.addEventListener("scroll", () => this.render());
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("focus", () => {
      if (!this.ids.length || !this.element.matches(":focus-visible")) return;
      this.activate(this.selected ?? this.active ?? this.ids[0]);
    });
    this.element.addEventListener("click", (event) => {
      const row = event.target.closest(".dagy-row");
      if (!row) return;
      this.active = row.dataset.task;
      this.choose(row.dataset.task, { isKey: false });
    });
    this.sizes = new ResizeObserver(() => this.render());
    this.sizes.observe(this.element);
  }

  leave() {
    this.sizes.disconnect();
  }

  show(ids) {
    const isSame = ids.length === this.ids.length && ids.every((id, index) => id === this.ids[index]);
    if (!isSame) {
      this.ids = ids;
      this.places = new Map(ids.map((id, index) => [id, index]));
      this.list.style.height = `${ids.length * this.height}px`;
      this.element.style.height = `${Math.min(this.tallest, Math.max(1, ids.length) * this.height)}px`;
      if (!this.places.has(this.active)) this.active = null;
    }
    this.render();
  }

  // Draw what is on the screen; of that only `changed`, if given.
  render(changed = null) {
    const seen = this.element.clientHeight || Math.min(this.tallest, this.ids.length * this.height);
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.height) - SPARE);
    const last = Math.min(this.ids.length, Math.ceil((this.element.scrollTop + seen) / this.height) + SPARE);
    const wanted = new Set(this.ids.slice(first, last));
    for (const [id, row] of this.shown) {
      if (wanted.has(id)) continue;
      row.remove();
      this.shown.delete(id);
    }
    for (let place = first; place < last; place += 1) {
      const id = this.ids[place];
      let row = this.shown.get(id);
      const isNew = !row;
      if (isNew) {
        row = make("div", "dagy-row");
        row.dataset.task = id;
        row.style.height = `${this.height}px`;
        set(row, { role: "option" });
        this.shown.set(id, row);
        this.list.append(row);
      }
      row.style.transform = `translateY(${place * this.height}px)`;
      set(row, { id: `${this.name}-${place}`, "aria-setsize": this.ids.length, "aria-posinset": place + 1 });
      set(row, { "aria-selected": id === this.selected ? "true" : "false" });
      row.classList.toggle("dagy-active", id === this.active);
      if (isNew || !changed || changed.has(id)) this.draw(row, id, isNew);
    }
    const place = this.places?.get(this.active);
    set(this.element, { "aria-activedescendant": place >= first && place < last ? `${this.name}-${place}` : null });
  }

  activate(id) {
    this.active = id;
    this.reveal(id);
    this.render(new Set());
    this.move(id);
  }

  pick(id) {
    this.selected = id;
    if (id !== null) {
      this.active = id;
      this.reveal(id);
    }
    this.render(new Set());
  }

  reveal(id) {
    const place = this.places?.get(id);
    const seen = this.element.clientHeight;
    if (place === undefined || !seen) return;
    const top = place * this.height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.height > this.element.scrollTop + seen) this.element.scrollTop = top + this.height - seen;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.ids.length) return;
    const place = this.places.get(this.active) ?? -1;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const moves = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: Infinity };
    if (event.key in moves) this.activate(this.ids[Math.min(this.ids.length - 1, Math.max(0, moves[event.key]))]);
    else if ((event.key === "Enter" || event.key === " ") && place >= 0) this.choose(this.active, { isKey: true });
    else return;
    event.preventDefault();
  }
}
