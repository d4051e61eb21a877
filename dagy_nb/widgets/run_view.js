// ---- What a front end calls: `initialize` once for the model, `render` for each place where its output is shown.

function initialize({ model }) {
  const store = storeOf(model);
  const stills = new Stills(store);
  return () => {
    stills.leave();
    store.close();
  };
}

function render({ model, el }) {
  const view = new View(storeOf(model), el);
  return () => view.leave();
}

export default { initialize, render };
