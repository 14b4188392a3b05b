"use strict";
const events = new EventSource("/events");
const state = document.getElementById("state");

/** Shows the state of the run and of the connection. */
function tell(text) {
  if (state.textContent !== text) state.textContent = text;
}

/** Returns a name that identifies one of the page's details: the heading above it and its own summary. */
const name = (details) =>
  [details.closest("figure, section")?.querySelector("h2, h3"), details.querySelector("summary")].map((part) => part?.textContent).join();

/** Redraws the report and keeps open the details that the reader has opened. Shows the text, or why there is no report. */
async function draw(text) {
  const answer = await fetch("/");
  const body = await answer.text();
  const next = answer.ok && new DOMParser().parseFromString(body, "text/html").querySelector("main");
  if (!next) return tell(body);
  const all = () => [...document.querySelectorAll("details")];
  const open = new Set(all().filter((details) => details.open).map(name));
  document.querySelector("main").replaceWith(next);
  for (const details of all()) details.open ||= open.has(name(details));
  tell(text);
}

const lost = () => tell("flowrl-cli watch does not answer, so this may be out of date; retrying …");
let drawing = Promise.resolve();
const queue = (text) => (drawing = drawing.then(() => draw(text)).catch(lost));
events.onmessage = () => queue("The run is in progress.");
events.addEventListener("end", () => {
  events.close();
  queue("The run has ended.");
});
events.onerror = lost;
