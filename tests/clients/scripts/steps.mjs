// Steps of a client's script, as in steps.py: each prints a line that says how it went.
export const { CLIENT: NAME, CLIENT_BUCKET: BUCKET } = process.env;
export const { AWS_ENDPOINT_URL: URL_, AWS_DEFAULT_REGION: REGION } = process.env;
export const { WORKBENCH_IMAGE: IMAGE, WORKBENCH_ROLE: ROLE, WORKBENCH_MODEL: MODEL } = process.env;
export const KEY = process.env.AWS_ACCESS_KEY_ID;
export const SECRET = process.env.AWS_SECRET_ACCESS_KEY;

const tell = (...fields) =>
  console.log(fields.map((each) => String(each).replace(/\s+/g, " ")).join("\t"));

/** Run a step, which may be asynchronous; a refusal by name is wanted with { refused: true }. */
export async function step(name, run, { refused = false } = {}) {
  try {
    await run();
    if (refused) throw new Error("was not refused");
    tell("passed", name);
  } catch (error) {
    if (refused && `${error.name} ${error.code} ${error}`.includes("NotImplemented")) {
      tell("refused", name);
    } else {
      console.error(error);
      tell("failed", name, error);
      process.exitCode = 1;
    }
  }
}
