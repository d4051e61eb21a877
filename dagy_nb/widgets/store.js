// ---- What is known of a run, and what the page asks the kernel for.
//
// One store a model, which every place that shows the run reads. What the kernel sent before the page was ready is lost,
// so the page asks for a snapshot then, and whenever it finds a gap; the kernel sends one now and then unasked, for pages
// it can't hear. A state never goes back.

const LOG_LIMIT = 20000; // characters of a task's output that are kept
const SHOWN_LIMIT = 20; // displays of a task that are kept
const SHOWN_SIZE_LIMIT = 4000000; // characters of these displays
const MISSED_MS = 400; // after which a page that shows what the kernel has replaced must have missed that
const ANSWER_MS = 500; // how long the kernel may take to answer a cancel

const stores = new Map(); // by the model's `view_id`: a front end gives each view of a model another object

function storeOf(model) {
  const key = model.get("view_id");
  if (!stores.has(key)) stores.set(key, new Store(model));
  return stores.get(key);
}

class Store {
  constructor(model) {
    this.model = model;
    this.run = {};
    this.tasks = {};
    this.number = 0; // of the last delta
    this.skew = 0; // milliseconds by which this machine's clock is ahead of the kernel's
    this.views = new Set();
    this.asked = ""; // "cancel", "run" or "rerun", until that is answered
    this.problems = []; // why the kernel refused to run
    this.answerTimer = null;
    this.missedTimer = null;
    this.isLost = false; // the kernel is gone
    this.whenLost = () => {};
    this.look = { tab: "graph", selected: null, query: "", states: new Set(), isTouched: false, isFormOpen: null, fields: null };
    this.looks = model.get("looks");
    this.about = model.get("about");
    this.onMessage = (message) => this.receive(message);
    this.load(model.get("snapshot"));
    this.ids = Object.keys(this.about).filter((id) => this.tasks[id]);
    this.ids.push(...Object.keys(this.tasks).filter((id) => !this.about[id]));
    this.users = Object.fromEntries(this.ids.map((id) => [id, []]));
    for (const id of this.ids) for (const need of this.needs(id)) this.users[need]?.push(id);
    model.on("msg:custom", this.onMessage);
    this.onReplaced = () => this.lookForMissed();
    model.on("change:was", this.onReplaced);
    this.watchNoMore = whenKernelIsGone(model, () => this.lose());
    model.send({ op: "ready" });
    this.lookForMissed();
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("change:was", this.onReplaced);
    this.watchNoMore();
    clearTimeout(this.answerTimer);
    clearTimeout(this.missedTimer);
    stores.delete(this.model.get("view_id"));
  }

  get isFinal() {
    return FINAL.has(this.run.state);
  }

  get now() {
    return Date.now() - this.skew;
  }

  nameOf(id) {
    const { name = id, mapped } = this.about[id] || {};
    return (this.isAlone(name) ? name : id) + (mapped ? "[…]" : "");
  }

  isAlone(name) {
    if (!this.times) {
      this.times = new Map();
      for (const each of Object.values(this.about)) this.times.set(each.name, (this.times.get(each.name) || 0) + 1);
    }
    return (this.times.get(name) || 0) < 2;
  }

  needs(id) {
    return (this.about[id]?.needs || []).filter((each) => this.tasks[each]);
  }

  wordsOf(id) {
    const task = this.tasks[id];
    return [this.looks[task.state].label, attemptOf(task, this.about[id] || {}), itemsOf(task)].filter(Boolean).join(", ");
  }

  timeOf(thing) {
    return thing.started ? duration((thing.ended || this.now) - thing.started) : "";
  }

  // Tasks and items that have ended, and all of them.
  progress() {
    let done = 0;
    let all = 0;
    for (const id of this.ids) {
      const { state, items } = this.tasks[id];
      const count = items?.count || 1;
      all += count;
      done += FINAL.has(state) ? count : items?.count ? Math.min(count, items.done + items.failed + (items.skipped || 0)) : 0;
    }
    return { done, all };
  }

  counts() {
    const found = {};
    for (const id of this.ids) found[this.tasks[id].state] = (found[this.tasks[id].state] || 0) + 1;
    return found;
  }

  // ---- messages

  receive(message) {
    if (message.now) this.skew = Date.now() - message.now;
    if (message.op === "snapshot") this.load(message);
    if (message.op === "delta") this.merge(message);
    if (message.op === "acknowledged") clearTimeout(this.answerTimer);
    if (message.op === "output" || message.op === "started") {
      // The model may be closed by then.
      setTimeout(() => replaceOutputs(this.model, message.model_id, message.data), message.op === "started" ? MISSED_MS : 0);
    }
    if (message.op === "refused" || message.op === "started") {
      this.asked = "";
      this.problems = message.problems || [];
      this.tell(new Set());
    }
  }

  load(snapshot) {
    if (!snapshot?.tasks || snapshot.number < this.number) return;
    if (!this.isFinal || FINAL.has(snapshot.run.state)) this.run = snapshot.run;
    for (const [id, task] of Object.entries(snapshot.tasks)) {
      const { log, shown, ...head } = task;
      const known = this.tasks[id];
      const isNewer = !known || advances(known, head);
      this.tasks[id] = { faults: [], attempts: [], ...known, ...(isNewer ? head : {}), log: newest(linesOf(log)), shown: [...shown] };
    }
    this.number = snapshot.number;
    this.tell(null);
  }

  merge(delta) {
    if (delta.number <= this.number) return;
    if (delta.number > this.number + 1) this.model.send({ op: "ready" });
    this.number = delta.number;
    if (!this.isFinal || FINAL.has(delta.run.state)) this.run = delta.run;
    const changed = new Set(Object.keys(delta.tasks));
    for (const [id, head] of Object.entries(delta.tasks)) {
      if (advances(this.tasks[id], head)) Object.assign(this.tasks[id], head);
    }
    for (const [id, gone, runs] of delta.written) {
      const { log } = this.tasks[id];
      log.splice(Math.max(0, log.length - gone)); // the task has drawn over these lines
      this.tasks[id].log = newest(log.concat(linesOf(runs)));
      changed.add(id);
    }
    for (const [id, preview] of delta.shown) {
      const { shown } = this.tasks[id];
      shown.push(preview);
      let size = shown.reduce((sum, each) => sum + each.content.length, 0);
      while (shown.length > 1 && (shown.length > SHOWN_LIMIT || size > SHOWN_SIZE_LIMIT)) size -= shown.shift().content.length;
      changed.add(id);
    }
    this.tell(changed);
  }

  // The kernel is gone, and what ran in it.
  lose() {
    this.isLost = true;
    clearTimeout(this.answerTimer);
    if (!this.isFinal && this.run.started) {
      const ended = this.now;
      this.run = { ...this.run, state: "CRASHED", ended, message: "The kernel is gone, and this run with it." };
      for (const task of Object.values(this.tasks)) {
        if (!["RUNNING", "RETRYING", "QUEUED"].includes(task.state)) continue;
        const attempts = task.attempts.map(([from, to, state]) => (to ? [from, to, state] : [from, ended, "CRASHED"]));
        Object.assign(task, { state: "CRASHED", ended, attempts, message: "the kernel is gone" });
      }
    }
    this.tell(null);
    this.whenLost();
  }

  // Ask for what the kernel has put in the place of the view, if the notebook still has the view after a while.
  lookForMissed() {
    const was = this.model.get("was");
    if (!was) return;
    clearTimeout(this.missedTimer);
    this.missedTimer = setTimeout(() => {
      if (outputsOf(this.model, was, null).length) this.model.send({ op: "output" });
    }, MISSED_MS);
  }

  // `changed` holds ids; null: all.
  tell(changed) {
    for (const view of this.views) view.draw(changed);
  }

  // ---- what the user asks for

  cancel() {
    this.ask("cancel", {});
    this.answerTimer = setTimeout(() => {
      if (this.model.get("blocking") && !this.isFinal) interrupt(this.model.get("kernel_id"));
    }, ANSWER_MS);
  }

  start(parameters) {
    this.ask("run", { parameters });
  }

  runAgain(from, parameters) {
    this.ask("rerun", { from, parameters });
  }

  ask(op, content) {
    this.asked = op;
    this.problems = [];
    this.model.send({ op, ...content });
    this.tell(new Set());
  }
}

// Whether `head` is what may follow `task`.
function advances(task, head) {
  if (FINAL.has(task.state)) return FINAL.has(head.state);
  if (FINAL.has(head.state)) return true;
  if (head.attempt !== task.attempt) return head.attempt > task.attempt;
  return RANK[head.state] >= RANK[task.state];
}

// The lines of a log from runs of lines of one stream and one attempt.
function linesOf(runs) {
  return runs.flatMap(([stream, text, attempt = 0]) => text.split("\n").map((line) => ({ stream, attempt, text: line })));
}

function newest(log) {
  let size = 0;
  let kept = log.length;
  while (kept && size < LOG_LIMIT) size += log[--kept].text.length + 1;
  return log.slice(kept);
}

// The kernel did not answer although its cell waits for this very run: let the Jupyter server interrupt it.
async function interrupt(kernelId) {
  const config = document.getElementById("jupyter-config-data");
  if (!config || !kernelId) return;
  const { baseUrl = "/", token } = JSON.parse(config.textContent);
  const headers = {};
  const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/);
  if (xsrf) headers["X-XSRFToken"] = xsrf[1];
  if (token) headers.Authorization = `token ${token}`;
  await fetch(`${baseUrl}api/kernels/${encodeURIComponent(kernelId)}/interrupt`, { method: "POST", headers });
}
