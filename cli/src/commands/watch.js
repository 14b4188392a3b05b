"use strict";
const events = new EventSource("/events");

/** Draws the report anew; what the reader has opened stays open. */
async function draw() {
  const text = await (await fetch("/")).text();
  const next = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  if (!next) return;
  const summaries = () => [...document.querySelectorAll("details > summary")];
  const open = summaries().filter((summary) => summary.parentElement.open).map((summary) => summary.textContent);
  document.querySelector("main").replaceWith(next);
  for (const summary of summaries()) summary.parentElement.open ||= open.includes(summary.textContent);
}

let drawing = Promise.resolve();
const queue = () => (drawing = drawing.then(draw).catch(() => {}));
events.onmessage = queue;
events.addEventListener("end", () => {
  events.close();
  queue();
});
