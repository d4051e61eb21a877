// ---- The list of tasks.

class TaskList {
  constructor(store, select) {
    this.store = store;
    this.rows = new Rows({
      label: "Tasks", height: 32, tallest: 352, draw: (row, id, isNew) => this.drawRow(row, id, isNew),
      choose: select,
      move: (id) => { if (store.look.selected) select(id, { isKey: false }); }, // the open panel goes along
    });
    this.rows.element.classList.add("dagy-tasks");
    this.element = this.rows.element;
  }

  leave() {
    this.rows.leave();
  }

  drawRow(row, id, isNew) {
    const { store } = this;
    const task = store.tasks[id];
    if (isNew) {
      row.classList.add("dagy-task");
      const name = make("span", "dagy-task-name", store.nameOf(id));
      name.title = id;
      row.append(make("span", "dagy-task-badge"), name, make("span", "dagy-task-state"), make("span", "dagy-task-time"), make("span", "dagy-task-line"));
    }
    const [icon, , state, time, line] = row.children;
    row.dataset.state = task.state;
    drawBadge(icon, store.looks, task.state);
    say(state, store.wordsOf(id));
    say(time, store.timeOf(task));
    const text = (task.state !== "RUNNING" && task.message) || lastLine(task);
    say(line, text);
    if (line.title !== text) line.title = text;
  }

  tick() {
    for (const [id, row] of this.rows.shown) {
      const task = this.store.tasks[id];
      if (task.state === "RUNNING") say(row.children[3], this.store.timeOf(task));
    }
  }
}
