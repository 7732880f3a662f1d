// What anywidget would be, on a page without a kernel; `host.py` writes it into the page behind each explorer.

/** Bytes as anywidget hands them over, from {"$bytes": base64} anywhere in a value. */
const decode = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (value.$bytes !== undefined) {
    return new DataView(Uint8Array.from(atob(value.$bytes), (letter) => letter.charCodeAt(0)).buffer);
  }
  if (Array.isArray(value)) return value.map(decode);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decode(inner)]));
};

/** Draw the module whose text is in `sourceId`, with the traits in `stateId`, at `placeId`. */
export function standIn(placeId, stateId, sourceId) {
  const place = document.getElementById(placeId), listeners = {};
  const traits = decode(JSON.parse(document.getElementById(stateId).textContent));
  const model = {
    get: (name) => traits[name],
    set(name, value) {
      traits[name] = value;
      for (const call of [...(listeners[`change:${name}`] || []), ...(listeners.change || [])]) call();
    },
    on(event, call) { (listeners[event] ||= []).push(call); },
    off(event, call) { listeners[event] = (listeners[event] || []).filter((other) => other !== call); },
    save_changes() {},
  };
  place.explorer = model;
  const source = document.getElementById(sourceId).textContent;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const draw = () => import(address).then((module) => module.default.render({ model, el: place }))
    .catch((error) => { place.textContent = `This explorer cannot be drawn: ${error.message}`; });
  // First paint is not delayed: an explorer is drawn when it comes near the screen, or when the page has nothing to do.
  if ("IntersectionObserver" in window) {
    const watcher = new IntersectionObserver((seen) => {
      if (seen.some((entry) => entry.isIntersecting)) { watcher.disconnect(); draw(); }
    }, { rootMargin: "600px" });
    watcher.observe(place);
  } else draw();
}
