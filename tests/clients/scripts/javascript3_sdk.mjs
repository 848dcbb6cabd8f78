// AWS SDK for JavaScript 3: objects, parts, presigned URLs and forms.
import assert from "node:assert/strict";
import { lookup } from "node:dns";
import http from "node:http";
import {
  AbortMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand,
  CreateMultipartUploadCommand, DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand,
  GetObjectCommand, GetObjectTaggingCommand, HeadObjectCommand, ListBucketsCommand,
  ListObjectsV2Command, PutObjectCommand, PutObjectTaggingCommand, S3Client, UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { step, URL_, NAME, REGION } from "./steps.mjs";

const s3 = new S3Client({ region: REGION, endpoint: URL_ });
const send = (Command, rest) => s3.send(new Command({ Bucket: NAME, ...rest }));
const read = async (Key, rest = {}) =>
  (await send(GetObjectCommand, { Key, ...rest })).Body.transformToString();

await step("bucket and small objects", async () => {
  await send(CreateBucketCommand);
  const Key = "a/b c+d.txt";
  await send(PutObjectCommand, { Key, Body: "hello", Metadata: { who: "me" } });
  assert.equal(await read(Key), "hello");
  assert.equal(await read(Key, { Range: "bytes=1-2" }), "el");
  assert.deepEqual((await send(HeadObjectCommand, { Key })).Metadata, { who: "me" });
  const { Buckets } = await s3.send(new ListBucketsCommand({}));
  assert(Buckets.some((each) => each.Name === NAME));
});

await step("checksums", async () => {
  for (const algorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
    const Key = algorithm;
    await send(PutObjectCommand, { Key, Body: "hello", ChecksumAlgorithm: algorithm });
    const found = await send(HeadObjectCommand, { Key, ChecksumMode: "ENABLED" });
    assert(found[`Checksum${algorithm}`]);
  }
  const wrong = { Key: "wrong", Body: "hello", ChecksumCRC32: "AAAAAA==" };
  await assert.rejects(send(PutObjectCommand, wrong), { name: "BadDigest" });
});

await step("uploads in parts", async () => {
  const Body = Buffer.alloc(12_800_000, "0123456789");
  await new Upload({ client: s3, params: { Bucket: NAME, Key: "large", Body } }).done();
  const found = await send(GetObjectCommand, { Key: "large" });
  assert(Buffer.from(await found.Body.transformToByteArray()).equals(Body));
  assert(found.ETag.endsWith('-3"'));
  const { UploadId } = await send(CreateMultipartUploadCommand, { Key: "begun" });
  await send(UploadPartCommand, { Key: "begun", UploadId, PartNumber: 1, Body: "x" });
  await send(AbortMultipartUploadCommand, { Key: "begun", UploadId });
});

await step("lists, copies and tags", async () => {
  await send(CopyObjectCommand, { Key: "copy", CopySource: `${NAME}/a/b%20c%2Bd.txt` });
  const { Contents, CommonPrefixes } = await send(ListObjectsV2Command, { Delimiter: "/" });
  assert(Contents.some((each) => each.Key === "copy"));
  assert.deepEqual(CommonPrefixes, [{ Prefix: "a/" }]);
  const TagSet = [{ Key: "stage", Value: "test" }];
  await send(PutObjectTaggingCommand, { Key: "copy", Tagging: { TagSet } });
  assert.deepEqual((await send(GetObjectTaggingCommand, { Key: "copy" })).TagSet, TagSet);
});

await step("conditions", async () => {
  const wanted = { Key: "copy", IfMatch: '"other"' };
  await assert.rejects(send(GetObjectCommand, wanted), { name: "PreconditionFailed" });
});

await step("presigned URLs", async () => {
  const where = { Bucket: NAME, Key: "signed" };
  const put = await getSignedUrl(s3, new PutObjectCommand({ ...where, Tagging: "a=1" }), {
    expiresIn: 60,
  });
  const sent = await fetch(put, { method: "PUT", body: "signed" });
  assert.equal(sent.status, 200, await sent.text());
  const get = await getSignedUrl(s3, new GetObjectCommand(where), { expiresIn: 60 });
  assert.equal(await (await fetch(get)).text(), "signed");
  assert.equal((await fetch(get.replace("/signed", "/copy"))).status, 403);
});

await step("a form", async () => {
  const { url, fields } = await createPresignedPost(s3, {
    Bucket: NAME,
    Key: "form",
    Conditions: [["content-length-range", 0, 100]],
    Expires: 60,
  });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new Blob(["posted"]));
  assert.equal((await fetch(url, { method: "POST", body: form })).status, 204);
  assert.equal(await read("form"), "posted");
});

await step("a bucket in the host's name", async () => {
  // names below localhost are this machine's, whether its resolver knows that or not
  const agent = new http.Agent({
    lookup: (name, options, done) => lookup("127.0.0.1", options, done),
  });
  const endpoint = URL_.replace("127.0.0.1", "localhost");
  const named = new S3Client({
    region: REGION,
    endpoint,
    requestHandler: { httpAgent: agent },
  });
  const found = await named.send(new GetObjectCommand({ Bucket: NAME, Key: "copy" }));
  assert.equal(await found.Body.transformToString(), "hello");
  const url = await getSignedUrl(named, new GetObjectCommand({ Bucket: NAME, Key: "copy" }));
  assert.equal(new URL(url).hostname, `${NAME}.localhost`);
});

await step("object lock", async () => {
  const lock = { ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: new Date("2040-01-01") };
  await send(PutObjectCommand, { Key: "locked", Body: "x", ...lock });
}, { refused: true });

await step("deletes", async () => {
  const { Contents } = await send(ListObjectsV2Command);
  const Objects = Contents.map(({ Key }) => ({ Key }));
  await send(DeleteObjectsCommand, { Delete: { Objects } });
  await send(DeleteObjectCommand, { Key: "none" });
  await send(DeleteBucketCommand);
});
