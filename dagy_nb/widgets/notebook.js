// ---- The notebook around the view, as far as its front end tells of it: JupyterLab and Notebook 7 do, others may not.

const GONE = new Set(["dead", "terminating", "restarting", "autorestarting"]);
const WIDGET = "application/vnd.jupyter.widget-view+json";

// Call `act` once, when the kernel of `model` is gone or was restarted; what is returned ends the watch.
//
// A restart is told to every model, but of a shutdown models hear nothing, so the notebook's session is watched too.
function whenKernelIsGone(model, act) {
  const session = model.widget_manager?.context?.sessionContext;
  const signals = [session?.kernelChanged, session?.statusChanged].filter((each) => each?.connect);
  const gone = () => {
    end();
    act();
  };
  const look = () => {
    const kernel = session.session?.kernel;
    const known = model.get("kernel_id");
    if (!kernel || GONE.has(kernel.status) || (known && kernel.id !== known)) gone();
  };
  const end = () => {
    model.off("comm_live_update", gone);
    for (const each of signals) each.disconnect(look);
  };
  model.on("comm_live_update", gone);
  for (const each of signals) each.connect(look);
  return end;
}

// Put `data`, a MIME bundle, in the place of the outputs that are a view of the model called so, or a still of the run, in
// the notebook and so in its file.
//
// The kernel has replaced them by their display ids, which a page that was loaded since they were made knows nothing of.
function replaceOutputs(model, modelId, data) {
  const cells = model.widget_manager?.context?.model?.cells;
  const mark = `data-dagy-run="${model.get("run_id")}"`;
  for (let place = 0; place < (cells?.length || 0); place += 1) {
    const outputs = cells.get(place).outputs;
    for (let index = 0; index < (outputs?.length || 0); index += 1) {
      const found = outputs.get(index).toJSON().data || {};
      const html = [found["text/html"] || ""].flat().join("");
      const isStill = model.get("run_id") && html.includes(mark);
      if (found[WIDGET]?.model_id === modelId || isStill) outputs.set(index, { output_type: "display_data", data, metadata: {} });
    }
  }
}
