// In Node.js, the module is read from disk on import, so the whole package can be used at once.
// `init()` exists as in the browser, but does nothing.
import { readFileSync } from "node:fs";
import { initSync } from "./flowrl_wasm.js";

export * from "./flowrl_wasm.js";
export { default } from "./flowrl_wasm.js";

initSync({ module: readFileSync(new URL("./flowrl_wasm_bg.wasm", import.meta.url)) });
