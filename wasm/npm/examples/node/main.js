import { Landscape, Race, RaceOptions } from "@flowrl/lab";

const options = new RaceOptions();
options.addLane("flowrl", 0, 0);
options.addLane("grpo", 0, 0);
const race = Race.onLandscape(Landscape.preset("four-peaks", 16, 0), options);
race.run(600);
console.log(`FlowRL keeps ${race.measure(0, "modes_found")} of 4 peaks, GRPO ${race.measure(1, "modes_found")}`);
