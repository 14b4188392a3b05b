import { version } from "@flowrl/core";

console.log(`flowrl ${version()}`);
