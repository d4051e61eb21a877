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

// The notebook's outputs that are a view of the model called so, or a still of that run, as [outputs of a cell, index].
function outputsOf(model, modelId, runId) {
  const cells = model.widget_manager?.context?.model?.cells;
  const places = [];
  for (let cell = 0; cell < (cells?.length || 0); cell += 1) {
    const { outputs } = cells.get(cell);
    for (let index = 0; index < (outputs?.length || 0); index += 1) {
      const data = outputs.get(index).toJSON().data || {};
      const html = [data["text/html"] || ""].flat().join("");
      if (data[WIDGET]?.model_id === modelId || (runId && html.includes(`data-dagy-run="${runId}"`))) places.push([outputs, index]);
    }
  }
  return places;
}

// Put `data`, a MIME bundle, in the place of these outputs, in the notebook and so in its file.
//
// The kernel has replaced them by their display ids, which a page that was loaded since they were made knows nothing of.
function replaceOutputs(model, modelId, data) {
  for (const [outputs, index] of outputsOf(model, modelId, model.get("run_id"))) outputs.set(index, { output_type: "display_data", data, metadata: {} });
}

// Give the focus back to the cell that the element is in; whether there is one.
function leaveToCell(element) {
  const cell = element.closest(".jp-Cell");
  cell?.focus();
  return cell !== null;
}
