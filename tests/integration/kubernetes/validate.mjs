// Reads a list of Kubernetes's objects as JSON on stdin, and holds each against its published schema: the values by the
// schema itself, and by its types that no key is unknown, which the schema lets pass. Prints what is wrong.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const objects = JSON.parse(readFileSync(0, "utf8"));
const problems = [];
let typed = "";
for (const [number, object] of objects.entries()) {
  const { apiVersion, kind } = object;
  const library = apiVersion.startsWith("monitoring.coreos.com/") ? "@kubernetes-models/prometheus-operator" : "kubernetes-models";
  const path = `${library}/${apiVersion}/${kind}`;
  try {
    const Model = (await import(path))[kind];
    new Model(object).validate();
  } catch (error) {
    problems.push(`${kind} ${object.metadata.name}: ${error.message}`);
  }
  typed += `import type { I${kind} as T${number} } from "${path}";\nexport const o${number}: T${number} = ${JSON.stringify(object)};\n`;
}
writeFileSync("objects.ts", typed);
const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext"];
try {
  execFileSync("node_modules/.bin/tsc", [...options, "objects.ts"], { encoding: "utf8" });
} catch (error) {
  problems.push(error.stdout);
}
console.log(problems.join("\n"));
process.exit(problems.length === 0 ? 0 : 1);
