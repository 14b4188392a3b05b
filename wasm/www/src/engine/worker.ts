import init, { version } from "flowrl_wasm";

await init();
self.postMessage(version());
