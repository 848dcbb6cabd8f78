// aws-lambda-power-tuning: its functions, in the order of its state machine, which needs no AWS.
// It is in no package index: $POWER_TUNING names a clone of github.com/alexcasalboni/aws-lambda-power-tuning.
import {
  CreateFunctionCommand, DeleteFunctionCommand, GetAliasCommand, GetFunctionConfigurationCommand, LambdaClient,
  ListAliasesCommand, waitUntilFunctionActiveV2,
} from "@aws-sdk/client-lambda";
import { PutObjectCommand, CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { createRequire } from "node:module";
import { crc32 } from "node:zlib";

import { NAME, ROLE, step } from "./steps.mjs";

const require = createRequire(import.meta.url);
cpSync(`${process.env.POWER_TUNING}/lambda`, new URL("power-tuning", import.meta.url).pathname, { recursive: true });
Object.assign(process.env, { // as template.yml sets them
  defaultPowerValues: "128,256,512",
  minRAM: "128",
  baseCosts: '{"x86_64": {"default": 2.1e-9}, "arm64": {"default": 1.7e-9}}',
  sfCosts: '{"default": 0.000025}',
  visualizationURL: "https://lambda-power-tuning.show/",
});
const said = console.log; // what the functions write is not ours
const run = async (name, event) => {
  console.log = console.error;
  try {
    return await require(`./power-tuning/${name}.js`).handler(event, {});
  } finally {
    console.log = said;
  }
};

/** Its state machine: Initializer, Publisher until all is published, Executors at once, the rest. */
async function execute(input) {
  const state = { ...input, lambdaConfigurations: await run("initializer", input) };
  try {
    do state.lambdaConfigurations = await run("publisher", state);
    while (state.lambdaConfigurations.iterator.continue);
    const values = state.lambdaConfigurations.powerValues;
    state.stats = await Promise.all(values.map((value) => run("executor", { input: state, value })));
  } finally {
    await run("cleaner", state);
  }
  state.analysis = await run("analyzer", state);
  await run("optimizer", state);
  return state;
}

/** A zip with one file, stored as it is. */
function zip(name, text) {
  const [path, body] = [Buffer.from(name), Buffer.from(text)];
  const facts = Buffer.alloc(26);
  facts.writeUInt16LE(20, 0);
  facts.writeUInt16LE(33, 8); // 1 January 1980
  facts.writeUInt32LE(crc32(body), 10);
  facts.writeUInt32LE(body.length, 14);
  facts.writeUInt32LE(body.length, 18);
  facts.writeUInt16LE(path.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), facts, path, body]);
  const central = Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), facts, Buffer.alloc(14), path]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}

const client = new LambdaClient({});
const PROGRAM = `
def handler(event, context):
    return {"sum": sum(range(20_000)), "event": event, "version": context.function_version}
`;
let arn;
const aliases = async () => (await client.send(new ListAliasesCommand({ FunctionName: arn }))).Aliases;

await step("function", async () => {
  const made = await client.send(new CreateFunctionCommand({
    FunctionName: NAME,
    Role: ROLE,
    Runtime: "python3.11",
    Handler: "app.handler",
    MemorySize: 1024,
    Description: "to be tuned",
    Code: { ZipFile: zip("app.py", PROGRAM) },
  }));
  arn = made.FunctionArn;
  await waitUntilFunctionActiveV2({ client, minDelay: 1, maxWaitTime: 60 }, { FunctionName: arn });
});

await step("cheapest memory of three", async () => {
  const { analysis } = await execute({
    lambdaARN: arn, num: 5, powerValues: [128, 512, 1769], payload: { n: 1 }, includeOutputResults: true,
  });
  assert.ok([128, 512, 1769].includes(analysis.power), JSON.stringify(analysis));
  assert.ok(analysis.cost > 0 && analysis.duration > 0, JSON.stringify(analysis));
  assert.equal(analysis.stats.length, 3);
  assert.match(analysis.stateMachine.visualization, /^https:\/\/lambda-power-tuning.show\/#/);
});

await step("nothing left behind", async () => {
  assert.deepEqual(await aliases(), []);
  const now = await client.send(new GetFunctionConfigurationCommand({ FunctionName: arn }));
  assert.deepEqual([now.MemorySize, now.Description], [1024, "to be tuned"]);
});

await step("cold starts alone in parallel with a payload of S3", async () => {
  const s3 = new S3Client({ forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: NAME }));
  await s3.send(new PutObjectCommand({ Bucket: NAME, Key: "payload.json", Body: '{"n": 2}' }));
  const { analysis } = await execute({
    lambdaARN: arn, num: 5, powerValues: [256, 1024], payloadS3: `s3://${NAME}/payload.json`,
    onlyColdStarts: true, parallelInvocation: true, strategy: "speed",
  });
  assert.ok(analysis.duration > 0, JSON.stringify(analysis));
  assert.deepEqual(await aliases(), []);
});

await step("alias of the best memory", async () => {
  const { analysis } = await execute({
    lambdaARN: arn, num: 5, powerValues: [256, 512], payload: {}, strategy: "balanced",
    autoOptimize: true, autoOptimizeAlias: "best",
  });
  const best = await client.send(new GetAliasCommand({ FunctionName: arn, Name: "best" }));
  const named = { FunctionName: arn, Qualifier: "best" };
  const made = await client.send(new GetFunctionConfigurationCommand(named));
  assert.deepEqual([made.MemorySize, made.Version], [analysis.power, best.FunctionVersion]);
});

await step("function deleted", async () => {
  await client.send(new DeleteFunctionCommand({ FunctionName: arn }));
});
