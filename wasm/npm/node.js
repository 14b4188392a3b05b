// In Node.js the module is read from disk, so that all of the package works from the first line on.
// `init()` is there as in the browser, and has nothing left to do.
import { readFileSync } from "node:fs";
import { initSync } from "./flowrl_wasm.js";

export * from "./flowrl_wasm.js";
export { default } from "./flowrl_wasm.js";

initSync({ module: readFileSync(new URL("./flowrl_wasm_bg.wasm", import.meta.url)) });
