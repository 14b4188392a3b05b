import "./styles/math.css";
import init, { version } from "flowrl_wasm";

const show = (id: string, text: string): void => {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
};

const worker = new Worker(new URL("./engine/worker.ts", import.meta.url), { type: "module" });
worker.onmessage = (event: MessageEvent<string>) => show("worker-version", event.data);

await init();
show("version", version());
