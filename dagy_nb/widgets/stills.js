// ---- Stills of a run that are on the page while its kernel still knows it: the view is drawn in their place.
//
// What was there is kept, and put back when the kernel, the model or the place is gone.

const LOOK_MS = 150; // between two looks at a page that changes

class Stills {
  constructor(store) {
    this.store = store;
    this.runId = store.model.get("run_id");
    this.views = new Map(); // by the still's element
    if (!this.runId) return;
    this.changes = new MutationObserver(() => { this.timer ??= setTimeout(() => this.look(), LOOK_MS); });
    this.changes.observe(document.body, { childList: true, subtree: true });
    store.whenLost = () => this.leave();
    this.look();
  }

  look() {
    this.timer = null;
    for (const [still, view] of [...this.views]) if (!still.isConnected) view.leave();
    for (const still of document.querySelectorAll(`.dagy-still[data-dagy-run="${CSS.escape(this.runId)}"]`)) {
      if (!this.views.has(still) && !still.dataset.dagyView) this.draw(still);
    }
  }

  draw(still) {
    const kept = [...still.childNodes];
    const place = make("div");
    still.dataset.dagyView = "true";
    still.replaceChildren(place);
    const view = new View(this.store, place, () => {
      this.views.delete(still);
      delete still.dataset.dagyView;
      still.replaceChildren(...kept);
    });
    this.views.set(still, view);
  }

  leave() {
    this.changes?.disconnect();
    clearTimeout(this.timer);
    for (const view of [...this.views.values()]) view.leave();
  }
}
