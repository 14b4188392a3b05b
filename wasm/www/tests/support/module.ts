import { readFileSync } from "node:fs";
import * as wasm from "flowrl_wasm";

wasm.initSync({ module: readFileSync(new URL("../../../pkg/flowrl_wasm_bg.wasm", import.meta.url)) });

/** The module that the page runs, for tests without a browser. */
export { wasm };
