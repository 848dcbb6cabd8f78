// AWS SDK for JavaScript 2: objects, parts, presigned URLs of both versions and forms.
import assert from "node:assert/strict";
import AWS from "aws-sdk";
import { step, URL_, NAME, REGION } from "./steps.mjs";

const client = (rest) =>
  new AWS.S3({ endpoint: URL_, region: REGION, s3ForcePathStyle: true, ...rest });
const s3 = client();
const send = (operation, rest) => s3[operation]({ Bucket: NAME, ...rest }).promise();
const read = async (Key, rest = {}) => (await send("getObject", { Key, ...rest })).Body.toString();

await step("bucket and small objects", async () => {
  // By itself version 2.1000 asks for us-east-1 at an endpoint of one's own, which AWS refuses.
  await send("createBucket", { CreateBucketConfiguration: {} });
  const Key = "a/b c+d.txt";
  await send("putObject", { Key, Body: "hello", Metadata: { who: "me" } });
  assert.equal(await read(Key), "hello");
  assert.equal(await read(Key, { Range: "bytes=1-2" }), "el");
  assert.deepEqual((await send("headObject", { Key })).Metadata, { who: "me" });
});

await step("uploads in parts", async () => {
  const Body = Buffer.alloc(12_800_000, "0123456789");
  await s3.upload({ Bucket: NAME, Key: "large", Body }, { partSize: 5 << 20 }).promise();
  assert((await send("getObject", { Key: "large" })).Body.equals(Body));
});

await step("lists, copies and tags", async () => {
  await send("copyObject", { Key: "copy", CopySource: `${NAME}/a/b%20c%2Bd.txt` });
  const { Contents } = await send("listObjectsV2", { Prefix: "c" });
  assert.deepEqual(Contents.map((each) => each.Key), ["copy"]);
  const TagSet = [{ Key: "stage", Value: "test" }];
  await send("putObjectTagging", { Key: "copy", Tagging: { TagSet } });
  assert.deepEqual((await send("getObjectTagging", { Key: "copy" })).TagSet, TagSet);
});

for (const version of ["v2", "v4"]) {
  const signer = client({ signatureVersion: version });
  await step(`presigned URLs of version ${version}`, async () => {
    const where = { Bucket: NAME, Key: "signed", Expires: 60 };
    const put = signer.getSignedUrl("putObject", { ...where, ContentType: "text/plain" });
    const headers = { "content-type": "text/plain" };
    const sent = await fetch(put, { method: "PUT", body: "signed", headers });
    assert.equal(sent.status, 200, await sent.text());
    const get = signer.getSignedUrl("getObject", where);
    assert.equal(await (await fetch(get)).text(), "signed");
    assert.equal((await fetch(get.replace("/signed", "/copy"))).status, 403);
  });
}

await step("a form", async () => {
  const { url, fields } = s3.createPresignedPost({ Bucket: NAME, Fields: { key: "form" } });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new Blob(["posted"]));
  const sent = await fetch(url, { method: "POST", body: form });
  assert.equal(sent.status, 204, await sent.text());
  assert.equal(await read("form"), "posted");
});

await step("deletes", async () => {
  const { Contents } = await send("listObjectsV2");
  const Objects = Contents.map(({ Key }) => ({ Key }));
  await send("deleteObjects", { Delete: { Objects } });
  await send("deleteBucket");
});
