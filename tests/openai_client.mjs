// What OpenAI's own client makes of the server: node openai_client.mjs MODULE URL
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [modules, url] = process.argv.slice(2);
const { default: OpenAI } = createRequire(modules + "/")("openai");
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none" });

const models = await client.models.list();
assert.equal(models.data.length, 1);
const model = models.data[0].id;

const messages = [{ role: "user", content: "hello" }];
const request = { model, messages, max_tokens: 8, temperature: 0, logit_bias: { 258: -100 } };
const whole = await client.chat.completions.create(request);
assert.equal(whole.usage.completion_tokens, 8);
assert.equal(whole.choices[0].finish_reason, "length");

let text = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.equal(usage.completion_tokens, 8);

const runner = client.chat.completions.stream(request);
assert.equal(await runner.finalContent(), text);

const parameters = { type: "object", properties: { city: { type: "string", maxLength: 4 } }, required: ["city"], additionalProperties: false };
const called = await client.chat.completions.create({
  ...request, max_tokens: 200, tools: [{ type: "function", function: { name: "weather", parameters } }], tool_choice: "required",
});
assert.equal(called.choices[0].finish_reason, "tool_calls");
const call = called.choices[0].message.tool_calls[0];
assert.equal(call.function.name, "weather");
assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
// The tool's answer goes back.
const after = await client.chat.completions.create({
  ...request, messages: [...messages, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: "rain" }],
});
assert.equal(after.choices.length, 1);

const object = await client.chat.completions.create({
  ...request, max_tokens: 100, response_format: { type: "json_schema", json_schema: { name: "x", schema: parameters } },
});
assert.equal(typeof JSON.parse(object.choices[0].message.content).city, "string");

const completion = await client.completions.create({ model, prompt: "hello", max_tokens: 3, logprobs: 2, echo: true });
assert.ok(completion.choices[0].text.startsWith("hello"));
assert.equal(completion.choices[0].logprobs.token_logprobs[0], null);

const embedding = await client.embeddings.create({ model, input: ["a", "b"] });
assert.equal(embedding.data.length, 2);
assert.ok(Math.abs(embedding.data[0].embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-4, "of length 1");

await assert.rejects(client.chat.completions.create({ ...request, temperature: -1 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
await assert.rejects(client.chat.completions.create({ ...request, model: "other" }), OpenAI.NotFoundError);

const controller = new AbortController();
const stream = await client.chat.completions.create({ ...request, max_tokens: 900, stream: true }, { signal: controller.signal });
for await (const chunk of stream) {
  assert.ok(chunk.id);
  controller.abort();
}
console.log("ok");
