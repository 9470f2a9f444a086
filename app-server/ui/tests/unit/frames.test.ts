import { describe, expect, it } from 'vitest';
import { bestReception, completeFrame, frameKey, matchesFilter, mergeFrames, modulationName, readFrame, type Frame } from '../../src/lib/frames';
import { story } from '../../src/lib/story';

const frame = (members: Partial<Frame>): Frame => readFrame(JSON.stringify(members), members.id ?? '')!;

describe('reading', () => {
  it('fills what is absent or null', () => {
    const f = readFrame('{"id":"5-0","uplink":true,"rxInfo":null,"fCnt":7}', 'x')!;
    expect(f).toMatchObject({ id: '5-0', uplink: true, fCnt: 7, outcome: 'OUTCOME_UNSPECIFIED' });
    expect(f.rxInfo).toEqual([]);
    expect(f.steps).toEqual([]);
  });
  it("takes the stream's id where the frame has none", () => expect(readFrame('{}', '9-1')?.id).toBe('9-1'));
  it('refuses what is no frame', () => {
    for (const text of ['', 'null', '[]', '7', '{']) expect(readFrame(text, '1')).toBeUndefined();
  });
});

describe('merging', () => {
  const sent = frame({ id: '1-0', downlinkId: 77, fType: 'UNCONFIRMED_DATA_DOWN', fCnt: 3, outcome: 'PENDING', time: '2026-01-01T00:00:00Z', taken: -1, gatewayId: 'aa', steps: [{ name: 'send', afterUs: 5, text: '' }] });
  const answered = frame({ id: '2-0', downlinkId: 77, outcome: 'DELIVERED', time: '2026-01-01T00:00:01Z', taken: 1, steps: [{ name: 'read', afterUs: 9, text: '' }] });

  it('a later record completes the row of its downlink', () => {
    const rows = mergeFrames(mergeFrames([], [sent], 100), [answered], 100);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ outcome: 'DELIVERED', taken: 1, fCnt: 3, gatewayId: 'aa', time: sent.time, fType: 'UNCONFIRMED_DATA_DOWN' });
    expect(rows[0]?.steps.map((s) => s.name)).toEqual(['send', 'read']);
  });
  it('also within one batch, and the record repeated adds nothing', () => {
    const rows = mergeFrames([], [sent, answered, answered], 100);
    expect(rows).toHaveLength(1);
    expect(rows[0]?.steps).toHaveLength(2);
  });
  it('the gateways that were considered: the later record knows more, and they are found by their ids', () => {
    const at = (gatewayId: string, offer: number, answer: string) => ({ gatewayId, marginDdb: 125, chosen: offer > 0, offer, verdicts: [{ window: 'RX1', text: 'free', offered: offer > 0, answer }] });
    const first = completeFrame(sent, frame({ downlinkId: 77, outcome: 'PENDING', considered: [at('aa', 1, ''), at('bb', 0, '')] }));
    expect(first.considered.map((c) => c.offer)).toEqual([1, 0]);
    const later = completeFrame(first, frame({ downlinkId: 77, outcome: 'DELIVERED', considered: [at('aa', 1, 'refused: too late'), at('bb', 2, 'taken')] }));
    expect(later.considered.map((c) => c.verdicts[0]?.answer)).toEqual(['refused: too late', 'taken']);
    expect(completeFrame(later, answered).considered).toEqual(later.considered);
    expect(matchesFilter(later, { text: 'bb', direction: 'all', outcome: '' })).toBe(true);
    expect(matchesFilter(sent, { text: 'bb', direction: 'all', outcome: '' })).toBe(false);
  });
  it('MAC commands that the later record does not repeat stay', () => {
    const asked = frame({ downlinkId: 77, macCommands: [{ cid: 6, name: 'DevStatusReq', uplink: false, text: '' }] });
    expect(completeFrame(asked, answered).macCommands).toEqual(asked.macCommands);
    expect(completeFrame(answered, asked).macCommands).toEqual(asked.macCommands);
  });
  it('a record without an outcome leaves the outcome', () => expect(completeFrame(answered, frame({ downlinkId: 77 })).outcome).toBe('DELIVERED'));
  it('a refusal replaces the outcome and its reason', () => {
    const refused = frame({ id: '3-0', downlinkId: 77, outcome: 'DROPPED', reason: 'TOO_LATE', detail: 'RX1 and RX2' });
    expect(completeFrame(sent, refused)).toMatchObject({ outcome: 'DROPPED', reason: 'TOO_LATE', detail: 'RX1 and RX2' });
  });
  it('newest first; uplinks by id; at most the limit', () => {
    const up = (n: number) => frame({ id: `${n}-0`, uplink: true, fCnt: n });
    let rows = mergeFrames([], [up(1), up(2), up(3)], 100);
    expect(rows.map((f) => f.fCnt)).toEqual([3, 2, 1]);
    rows = mergeFrames(rows, [up(3), up(4)], 100);
    expect(rows.map((f) => f.fCnt)).toEqual([4, 3, 2, 1]);
    expect(mergeFrames(rows, [up(5)], 2).map((f) => f.fCnt)).toEqual([5, 4]);
  });
  it('downlinks without an id stay apart', () => expect(frameKey(frame({ id: '1-0' }))).not.toBe(frameKey(frame({ id: '2-0' }))));
});

it('best reception: SNR, then RSSI', () => {
  const rx = (gatewayId: string, snr: number, rssi: number) => ({ gatewayId, snr, rssi });
  expect(bestReception([rx('a', 1, -90), rx('b', 8, -110), rx('c', 8, -100)])?.gatewayId).toBe('c');
  expect(bestReception([])).toBeUndefined();
});

it('modulations', () => {
  expect(modulationName({ lora: { bandwidth: 125_000, spreadingFactor: 7 } })).toBe('SF7 125 kHz');
  expect(modulationName({ fsk: { datarate: 50_000 } })).toBe('FSK 50 kbit/s');
  expect(modulationName({ lrFhss: { operatingChannelWidth: 137_000, codeRate: 'CR_2_6' } })).toBe('LR-FHSS 137 kHz CR 1/3');
  expect(modulationName({ lrFhss: { operatingChannelWidth: 336_000 } })).toBe('LR-FHSS 336 kHz');
  expect(modulationName(null)).toBe('');
});

it('filters', () => {
  const f = frame({ id: '1', uplink: true, fType: 'JOIN_REQUEST', devEui: '70b3d57ed8000012', outcome: 'DROPPED', reason: 'DEVNONCE_REUSED', rxInfo: [{ gatewayId: '0016c001f1500000', rssi: -100, snr: 2 }] });
  const all = { text: '', direction: 'all', outcome: '' } as const;
  expect(matchesFilter(f, all)).toBe(true);
  for (const text of ['joinrequest', '70b3d5', 'devnonce', 'F150']) expect(matchesFilter(f, { ...all, text }), text).toBe(true);
  expect(matchesFilter(f, { ...all, text: 'mic' })).toBe(false);
  expect(matchesFilter(f, { ...all, direction: 'down' })).toBe(false);
  expect(matchesFilter(f, { ...all, outcome: 'DELIVERED' })).toBe(false);
  const mac = (cid: number, name: string) => frame({ id: '2', uplink: true, macCommands: [{ cid, name, uplink: true, text: '' }] });
  expect(matchesFilter(mac(6, 'DevStatusAns'), { ...all, text: 'devstatus' })).toBe(true);
  expect(matchesFilter(mac(0x80, ''), { ...all, text: '0x80' })).toBe(true);
});

describe('story', () => {
  const steps = ['decode', 'admit', 'collect', 'parse', 'fetch_devices', 'match', 'mac_commands', 'commit'].map((name, i) => ({ name, afterUs: i * 10, text: '' }));
  it('tells the steps that matter', () => {
    const told = story(frame({ id: '1', uplink: true, outcome: 'DELIVERED', devAddr: '01020304', fCnt: 9, rxInfo: [{ gatewayId: 'a', rssi: 1, snr: 1 }], steps }));
    expect(told.map((s) => s.name)).toEqual(['admit', 'collect', 'match']);
    expect(told[1]).toMatchObject({ afterUs: 30, more: { key: 'copies', values: { count: 1 } } });
    expect(told[2]?.more).toEqual({ key: 'session', values: { devAddr: '01020304', fCnt: 9 } });
  });
  it('names MAC commands where there are any', () => {
    const told = story(frame({ id: '1', uplink: true, outcome: 'DELIVERED', steps, macCommands: [{ cid: 2, name: 'LinkCheckReq', uplink: true, text: '' }] }));
    expect(told.find((s) => s.name === 'mac_commands')?.more?.values).toEqual({ commands: 'LinkCheckReq' });
  });
  it('ends where a dropped frame ended, without claiming that the step succeeded', () => {
    const told = story(frame({ id: '1', uplink: true, outcome: 'DROPPED', reason: 'MIC_MISMATCH', devAddr: '01020304', steps: steps.slice(0, 6) }));
    expect(told.at(-1)?.name).toBe('match');
    expect(told.at(-1)?.more).toBeUndefined();
  });
});
