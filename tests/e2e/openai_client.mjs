// What users of OpenAI's client library do, each checked. Usage: node openai_client.mjs http://127.0.0.1:PORT
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const url = process.argv[2];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
const model = 'tales';
const messages = [{ role: 'user', content: 'Once upon a time' }];
const checks = [];
const check = (name, body) => checks.push({ name, body });

check('models are listed and found', async () => {
  const ids = [];
  for await (const each of client.models.list()) ids.push(each.id);
  assert.deepEqual(ids, [model]);
  assert.equal((await client.models.retrieve('gpt-4o-mini')).id, model);
});

check('a chat is answered', async () => {
  const reply = await client.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0 });
  assert.equal(reply.choices[0].message.role, 'assistant');
  assert.ok(reply.choices[0].message.content.length > 0);
  assert.equal(reply.choices[0].finish_reason, 'length');
  assert.equal(reply.usage.completion_tokens, 12);
  assert.ok(reply._request_id.startsWith('req_'));
});

check('a stream of a chat gives the same text and its usage', async () => {
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 12, temperature: 0 });
  const stream = await client.chat.completions.create({
    model, messages, max_tokens: 12, temperature: 0, stream: true, stream_options: { include_usage: true },
  });
  let text = '', usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, 12);
});

check('the accumulating stream ends with a whole completion', async () => {
  const runner = client.chat.completions.stream({ model, messages, max_tokens: 8, logprobs: true, top_logprobs: 2 });
  let deltas = '';
  runner.on('content', (delta) => { deltas += delta; });
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, deltas);
  assert.equal(final.choices[0].logprobs.content.length, 8);
  assert.equal(final.choices[0].logprobs.content[0].top_logprobs.length, 2);
});

check('several choices', async () => {
  const reply = await client.chat.completions.create({ model, messages, n: 2, seed: 3, temperature: 1.2, max_tokens: 8 });
  assert.deepEqual(reply.choices.map((choice) => choice.index), [0, 1]);
});

check('completions, whole and as a stream', async () => {
  const ask = { model, prompt: 'The old king', max_tokens: 10, temperature: 0 };
  const whole = await client.completions.create({ ...ask, logprobs: 1 });
  assert.equal(whole.choices[0].logprobs.tokens.length, 10);
  let text = '';
  for await (const chunk of await client.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.text ?? '';
  assert.equal(text, whole.choices[0].text);
});

check('responses, whole and as a stream', async () => {
  const ask = { model, input: 'Once upon a time', max_output_tokens: 10, temperature: 0 };
  const whole = await client.responses.create(ask);
  assert.equal(whole.object, 'response');
  assert.equal(whole.status, 'incomplete');
  assert.equal(whole.incomplete_details.reason, 'max_output_tokens');
  assert.ok(whole.output_text.length > 0);
  assert.equal(whole.usage.output_tokens, 10);
  const stream = client.responses.stream(ask);
  const types = [];
  let text = '';
  stream.on('event', (event) => types.push(event.type));
  stream.on('response.output_text.delta', (event) => { text += event.delta; });
  const final = await stream.finalResponse();
  assert.equal(text, whole.output_text);
  assert.equal(final.output_text, text);
  assert.deepEqual(types.slice(0, 4), ['response.created', 'response.in_progress', 'response.output_item.added',
    'response.content_part.added']);
  assert.deepEqual(types.slice(-4), ['response.output_text.done', 'response.content_part.done',
    'response.output_item.done', 'response.incomplete']);
});

check('embeddings', async () => {
  const plain = await client.embeddings.create({ model, input: ['The king', 'A wolf'], encoding_format: 'float' });
  const packed = await client.embeddings.create({ model, input: ['The king', 'A wolf'] });  // base64 on the wire
  assert.equal(plain.data.length, 2);
  plain.data.forEach((each, i) => {
    assert.equal(each.embedding.length, packed.data[i].embedding.length);
    each.embedding.forEach((value, j) => assert.ok(Math.abs(value - packed.data[i].embedding[j]) < 1e-6));
  });
});

check('an answer that follows a schema', async () => {
  const reply = await client.chat.completions.create({
    model, messages, max_tokens: 60,
    response_format: { type: 'json_schema', json_schema: { name: 'king', strict: true, schema: {
      type: 'object', properties: { age: { type: 'integer', maximum: 120, minimum: 0 } }, required: ['age'],
      additionalProperties: false } } },
  });
  assert.equal(typeof JSON.parse(reply.choices[0].message.content).age, 'number');
});

check('an aborted stream ends the request', async () => {
  const stream = await client.completions.create({
    model, prompt: 'Once', max_tokens: -1, stream: true, ignore_eos: true,
  });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    stream.controller.abort();
    break;
  }
  for (let tries = 0; ; ++tries) {
    const health = await (await fetch(`${url}/health`)).json();
    if (health.requests.under_way === 0) break;
    assert.ok(tries < 500, 'the request goes on');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

check('an abort signal before the answer', async () => {
  const controller = new AbortController();
  const answer = client.completions.create({ model, prompt: 'Once', max_tokens: -1, ignore_eos: true },
    { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(answer, OpenAI.APIUserAbortError);
});

check('errors have their classes', async () => {
  await assert.rejects(client.chat.completions.create({ model, messages, temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'temperature');
    assert.equal(error.type, 'invalid_request_error');
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model: 'gpt-9', messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    return true;
  });
  await assert.rejects(client.completions.create({ model, prompt: 'king '.repeat(9000) }), (error) => {
    assert.equal(error.code, 'context_length_exceeded');
    return true;
  });
});

check('a deadline is kept and its error not repeated', async () => {
  const patient = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 2 });
  let answers = 0;
  const counted = patient.withOptions({ fetch: (...request) => { ++answers; return fetch(...request); } });
  await assert.rejects(counted.completions.create(
    { model, prompt: 'The wolf and the king and '.repeat(120), infer_os: { deadline_ms: 1 } }), (error) => {
    assert.equal(error.status, 504);
    assert.equal(error.code, 'deadline_exceeded');
    return true;
  });
  assert.equal(answers, 1);
});

let failed = 0;
for (const { name, body } of checks) {
  try {
    await body();
    console.log(`ok: ${name}`);
  } catch (error) {
    ++failed;
    console.log(`FAILED: ${name}: ${error.stack}`);
  }
}
console.log(failed === 0 ? `all ${checks.length} checks passed` : `${failed} of ${checks.length} checks failed`);
process.exit(failed === 0 ? 0 : 1);
