import address from "../../../pkg/flowrl_wasm_bg.wasm?url";
import { initSync } from "flowrl_wasm";

/** Loads the module of the core, which everything else imports: once on the page, and once in each of its workers. */
export async function loadModule(): Promise<void> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`the module cannot be fetched: ${response.status} ${response.statusText}`);
  // From bytes: what a host says of their type does not matter.
  initSync({ module: await WebAssembly.compile(await response.arrayBuffer()) });
}
