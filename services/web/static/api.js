// Sends what the forms of the reference say, and shows what comes back.
import { root } from "./page.js";

const LONGEST = 100_000;
const TEXT = /json|text|xml|yaml|cwl|event-stream/;

function address(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const control of form.querySelectorAll("[data-name]")) {
    const { name, in: place } = control.dataset;
    const value = control.value.trim();
    if (place === "path") path = path.replace(`{${name}}`, () => value.split("/").map(encodeURIComponent).join("/"));
    else if (!value) continue;
    else if (place === "query") query.append(name, value);
    else if (place === "header") headers[name] = value;
  }
  return { url: root + (path === "/" ? "" : path) + (query.size ? `?${query}` : ""), headers };
}

async function show(answer, content) {
  const type = answer.headers.get("content-type") ?? "";
  if (!TEXT.test(type)) {
    const size = (await answer.arrayBuffer()).byteLength;
    content.textContent = size ? `(${size} bytes of ${type || "an unknown type"})` : "(nothing)";
    return;
  }
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    content.append(decoder.decode(value, { stream: true }));
    if (content.textContent.length > LONGEST) {
      content.append("\n…");
      await reader.cancel();
      return;
    }
  }
  // A number that JavaScript cannot keep would become another one, so such an answer stays as it is written.
  if (/json/.test(type) && !/\d{16}/.test(content.textContent)) {
    content.textContent = JSON.stringify(JSON.parse(content.textContent), null, 2);
  }
}

for (const form of document.querySelectorAll("[data-try]")) {
  const stop = form.querySelector("[data-stop]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { url, headers } = address(form);
    const body = form.querySelector("[data-body]")?.value;
    if (body !== undefined) headers["Content-Type"] = form.querySelector("[data-media]").value;
    const status = form.querySelector("[data-status]");
    const content = form.querySelector("[data-content]");
    const cut = new AbortController();
    stop.onclick = () => cut.abort();
    stop.hidden = false;
    form.querySelector("[data-answer]").hidden = false;
    status.textContent = "Just a moment…";
    content.textContent = "";
    const began = performance.now();
    try {
      const answer = await fetch(url, {
        method: form.dataset.method,
        headers: { Accept: "application/json, */*;q=0.5", ...headers },
        body,
        credentials: "same-origin",
        cache: "no-store",
        signal: cut.signal,
      });
      const place = answer.headers.get("location");
      status.textContent =
        `${answer.status} ${answer.statusText} after ${Math.round(performance.now() - began)} ms · ` +
        `${form.dataset.method} ${url}` + (place ? ` · Location: ${place}` : "");
      await show(answer, content);
    } catch (error) {
      content.append(cut.signal.aborted ? "\n(stopped)" : `(${error.message})`);
    } finally {
      stop.hidden = true;
    }
  });
}

function open() {
  const operation = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (operation?.matches("details")) operation.open = true;
}

addEventListener("hashchange", open);
open();
