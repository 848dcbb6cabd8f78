// Steps of a client's script, as in steps.py: each prints a line when it begins and one when it ends.
export const { CLIENT: NAME, CLIENT_BUCKET: BUCKET } = process.env;
export const { AWS_ENDPOINT_URL: URL_, AWS_DEFAULT_REGION: REGION } = process.env;
export const { WORKBENCH_IMAGE: IMAGE, WORKBENCH_ROLE: ROLE, WORKBENCH_MODEL: MODEL } = process.env;
export const KEY = process.env.AWS_ACCESS_KEY_ID;
export const SECRET = process.env.AWS_SECRET_ACCESS_KEY;

const tell = (...fields) =>
  console.log("\n" + fields.map((each) => String(each).replace(/\s+/g, " ")).join("\t"));

/** Run a step, which may be asynchronous; a refusal by name is wanted with { refused: true }. */
export async function step(name, run, { refused = false } = {}) {
  tell("begun", name);
  const begun = performance.now();
  const end = (outcome, ...why) => tell(outcome, name, ((performance.now() - begun) / 1000).toFixed(1), ...why);
  try {
    await run();
    if (refused) throw new Error("was not refused");
    end("passed");
  } catch (error) {
    if (refused && `${error.name} ${error.code} ${error}`.includes("NotImplemented")) {
      end("refused");
    } else {
      console.error(error);
      end("failed", error);
      process.exitCode = 1;
    }
  }
}
