// What every page with controls needs, once for all that are on it: see Keyboard in notebook.py.

function holdKeys(event) {
  if (event.target.closest?.(".wb")) {
    const plain = !event.ctrlKey && !event.metaKey;
    event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
  }
}

function moveFocus(changes) {
  for (const { target } of changes) {
    if (target.disabled && target === document.activeElement && target.closest(".wb")) {
      const beside = [...target.parentElement.querySelectorAll("button:enabled")]
        .filter((button) => button.offsetParent !== null); // a hidden one takes no focus
      (beside.find((button) => button.matches(".mod-primary")) ?? beside[0])?.focus();
    }
  }
}

function nameAll() {
  for (const handle of document.querySelectorAll(".wb .noUi-handle:not([aria-label])")) {
    const label = handle.closest(".jupyter-widgets")?.querySelector(".widget-label");
    if (label?.textContent) handle.setAttribute("aria-label", label.textContent);
  }
  for (const each of document.querySelectorAll(".wb [title=null]")) each.removeAttribute("title");
  for (const named of document.querySelectorAll(".wb label[title], .wb label > span[title]")) {
    const { control } = named.closest("label"), { title } = named;
    if (control && control.title !== title) control.title = title;
  }
  for (const button of document.querySelectorAll(".wb-fold > button")) {
    const open = `${button.classList.contains("mod-active")}`;
    if (button.ariaExpanded !== open) button.ariaExpanded = open;
  }
}

function watch() {
  const over = new AbortController();
  window.addEventListener("keydown", holdKeys, { capture: true, signal: over.signal });
  const disabled = new MutationObserver(moveFocus);
  disabled.observe(document.body, { subtree: true, attributeFilter: ["disabled"] });
  let frame = 0;
  const soon = () => { frame ||= requestAnimationFrame(() => { frame = 0; nameAll(); }); };
  const made = new MutationObserver(soon);
  const what = { subtree: true, childList: true, attributeFilter: ["title", "class"] };
  made.observe(document.body, what);
  soon();
  return () => {
    over.abort();
    disabled.disconnect();
    made.disconnect();
    cancelAnimationFrame(frame);
  };
}

function render() {
  const shared = (globalThis.workbenchKeyboard ??= { users: 0, end: null });
  if (!shared.users++) shared.end = watch();
  return () => { if (!--shared.users) shared.end(); };
}

export default { render };
