import { describe, expect, it } from 'vitest';
import { addEvents, readEvent } from '../../src/lib/events';
import { SseParser, type SseEvent } from '../../src/live/sse';
import { backOffMs } from '../../src/live/stream';

const feed = (...pieces: string[]) => {
  const p = new SseParser();
  return { p, events: pieces.flatMap((x) => p.feed(x)) };
};

describe('server-sent events', () => {
  it('reads id, event and data', () => expect(feed('id: 17-0\nevent: frame\ndata: {"a":1}\n\n').events).toEqual([{ id: '17-0', event: 'frame', data: '{"a":1}' }]));
  it('does not care where the network cuts', () => {
    const text = 'id: 1\r\nevent: up\r\ndata: one\r\ndata: two\r\n\r\n: ping\n\nid: 2\rdata: x\r\r';
    const whole = feed(text + '\n').events;
    expect(whole).toEqual([
      { id: '1', event: 'up', data: 'one\ntwo' },
      { id: '2', event: 'message', data: 'x' },
    ]);
    for (let cut = 1; cut < text.length; cut++) expect(feed(text.slice(0, cut), text.slice(cut) + '\n').events, String(cut)).toEqual(whole);
    expect(feed(...text, '\n').events).toEqual(whole);
  });
  it('keeps the id for events without one, for the next connection', () => {
    const { p, events } = feed('id: 5\ndata: a\n\ndata: b\n\n');
    expect(events.map((e) => e.id)).toEqual(['5', '5']);
    expect(p.lastId).toBe('5');
  });
  it('comments and unknown fields say nothing; retry is kept', () => {
    const { p, events } = feed(': hello\nfoo: bar\nretry: 250\nretry: soon\n\n');
    expect(events).toEqual([]);
    expect(p.retryMs).toBe(250);
  });
  it('takes off one blank, not two; data may be empty', () => expect(feed('data:  x\n\ndata\n\n').events.map((e) => e.data)).toEqual([' x', '']));
  it('an unfinished event is not given', () => expect(feed('data: half\n').events).toEqual([]));
});

it('back-off grows, has a ceiling and a random part', () => {
  expect(backOffMs(0, 0)).toBe(250);
  expect(backOffMs(0, 1)).toBe(500);
  expect(backOffMs(3, 1)).toBe(4000);
  expect(backOffMs(50, 1)).toBe(30_000);
  expect(backOffMs(50, 0)).toBe(15_000);
});

describe('events', () => {
  const sse = (id: string, body: unknown): SseEvent => ({ id, event: 'up', data: JSON.stringify({ id, description: 'up', body }) });
  it('takes the body out', () => expect(readEvent(sse('1', { fCnt: 4 }))).toEqual({ id: '1', kind: 'up', body: { fCnt: 4 } }));
  it('refuses what has none', () => {
    for (const data of ['null', '{}', '[]', 'x', '{"body":[]}']) expect(readEvent({ id: '1', event: 'up', data })).toBeUndefined();
  });
  it('newest first, each once', () => {
    const rows = addEvents([], [readEvent(sse('1', {})), readEvent(sse('2', {})), undefined], 10);
    expect(addEvents(rows, [readEvent(sse('2', {})), readEvent(sse('3', {}))], 10).map((e) => e.id)).toEqual(['3', '2', '1']);
    expect(addEvents(rows, [readEvent(sse('3', {}))], 2).map((e) => e.id)).toEqual(['3', '2']);
  });
});
