// Prints the report of a WebAssembly module of flowrl-bits: node run.mjs MODULE.wasm
import { readFileSync, writeFileSync } from "node:fs";

const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]));
const { memory, report_pointer, report_length } = instance.exports;
const [start, length] = [report_pointer(), report_length()];
writeFileSync(1, new Uint8Array(memory.buffer, start, length));
