/* A LoRaWAN 1.0 device activated by personalisation behind a gateway of its own, for what the simulated devices do not do:
 * to flood, and to say any MAC command. Speaks the packet forwarder's UDP protocol to the stack under test. */
import { createCipheriv } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { type Api, hex, unique, url } from './lib';

const key = (text: string) => Buffer.from(text, 'hex');

function aes(k: Buffer, block: Buffer): Buffer {
  const c = createCipheriv('aes-128-ecb', k, null).setAutoPadding(false);
  return Buffer.concat([c.update(block), c.final()]);
}
const xor = (a: Buffer, b: Buffer) => Buffer.from(a.map((x, i) => x ^ (b[i] ?? 0)));
function double(b: Buffer): Buffer {
  const out = Buffer.from(b.map((x, i) => ((x << 1) | ((b[i + 1] ?? 0) >> 7)) & 0xff));
  if ((b[0] ?? 0) & 0x80) out[15] = (out[15] ?? 0) ^ 0x87;
  return out;
}
/** AES-CMAC, RFC 4493. */
function cmac(k: Buffer, message: Buffer): Buffer {
  const k1 = double(aes(k, Buffer.alloc(16)));
  const whole = message.length > 0 && message.length % 16 === 0;
  const n = whole ? message.length / 16 : Math.floor(message.length / 16) + 1;
  const last = message.subarray(16 * (n - 1));
  const padded = whole ? xor(last, k1) : xor(Buffer.concat([last, Buffer.from([0x80]), Buffer.alloc(15 - last.length)]), double(k1));
  let x: Buffer = Buffer.alloc(16);
  for (let i = 0; i < n - 1; i++) x = aes(k, xor(x, message.subarray(16 * i, 16 * i + 16)));
  return aes(k, xor(x, padded));
}

export interface Place {
  tenantId: string;
  applicationId: string;
  profileId: string;
}

/** A tenant with an application and a profile for such devices. */
export async function place(api: Api, name: string): Promise<Place> {
  const { id: tenantId } = await api.call<{ id: string }>('POST', '/api/tenants', { tenant: { name: `${name} ${unique}`, canHaveGateways: true } });
  const { id: applicationId } = await api.call<{ id: string }>('POST', '/api/applications', { application: { name: `${name} application`, tenantId } });
  const deviceProfile = { name: `${name} profile`, tenantId, region: 'EU868', macVersion: 'LORAWAN_1_0_3', regParamsRevision: 'A', supportsOtaa: false, adrAlgorithmId: 'default', uplinkInterval: 3600, deviceStatusReqInterval: 0 };
  const { id: profileId } = await api.call<{ id: string }>('POST', '/api/device-profiles', { deviceProfile });
  return { tenantId, applicationId, profileId };
}

export class Device {
  readonly devEui = hex(16);
  /** MAC commands of the downlinks that came. */
  readonly heard: string[] = [];
  private readonly gatewayId = hex(16);
  private readonly devAddr = `01${hex(6)}`;
  private readonly nwkSKey = hex(32);
  private readonly appSKey = hex(32);
  private readonly started = process.hrtime.bigint();
  private readonly socket: Socket = createSocket('udp4');
  private fCnt = 0;
  private timer?: ReturnType<typeof setInterval>;

  private constructor(readonly name: string) {}

  static async open(api: Api, at: Place, name: string): Promise<Device> {
    const d = new Device(name);
    await api.call('POST', '/api/gateways', { gateway: { gatewayId: d.gatewayId, name: `${name} gateway`, tenantId: at.tenantId, statsInterval: 30 } });
    await api.call('POST', '/api/devices', { device: { devEui: d.devEui, name, applicationId: at.applicationId, deviceProfileId: at.profileId } });
    d.socket.on('message', (m) => d.take(m));
    d.pull();
    d.timer = setInterval(() => d.pull(), 2000);
    return d;
  }

  async activate(api: Api) {
    const k = this.nwkSKey;
    await api.call('POST', `/api/devices/${this.devEui}/activate`, { deviceActivation: { devEui: this.devEui, devAddr: this.devAddr, appSKey: this.appSKey, nwkSEncKey: k, sNwkSIntKey: k, fNwkSIntKey: k, fCntUp: 0, nFCntDown: 0, aFCntDown: 0 } });
  }

  close() {
    clearInterval(this.timer);
    this.socket.close();
  }

  private port(): number {
    return 1700 + Number(new URL(url()).port) - 8080; // of ./longwave up, by its offset
  }

  private datagram(kind: number, body = '') {
    const head = Buffer.from([2, Math.floor(Math.random() * 256), Math.floor(Math.random() * 256), kind]);
    this.socket.send(Buffer.concat([head, key(this.gatewayId), Buffer.from(body)]), this.port(), '127.0.0.1');
  }

  private pull() {
    this.datagram(2);
  }

  /** PULL_RESP: says that it is sent, and keeps what the device reads of it. */
  private take(m: Buffer) {
    if (m[3] !== 3) return;
    const head = Buffer.from([2, m[1] ?? 0, m[2] ?? 0, 5]);
    this.socket.send(Buffer.concat([head, key(this.gatewayId), Buffer.from('{"txpk_ack":{"error":"NONE"}}')]), this.port(), '127.0.0.1');
    const phy = Buffer.from((JSON.parse(m.subarray(4).toString()) as { txpk: { data: string } }).txpk.data, 'base64');
    const n = (phy[5] ?? 0) & 15;
    if (n > 0) this.heard.push(phy.subarray(8, 8 + n).toString('hex')); // in the clear, as 1.0 has them
    else if (phy[8] === 0) {
      const sealed = phy.subarray(9, -4);
      this.heard.push(xor(sealed, this.stream(this.nwkSKey, 1, phy.readUInt16LE(6), sealed.length)).toString('hex'));
    }
  }

  /** The first 15 bytes of a block of LoRaWAN's ciphers, and the last one. */
  private block(first: number, direction: number, count: number, last: number): Buffer {
    const b = Buffer.alloc(16);
    b[0] = first;
    b[5] = direction;
    Buffer.from(key(this.devAddr)).reverse().copy(b, 6);
    b.writeUInt32LE(count, 10);
    b[15] = last;
    return b;
  }

  private stream(k: string, direction: number, count: number, bytes: number): Buffer {
    return Buffer.concat(Array.from({ length: Math.ceil(bytes / 16) }, (_, i) => aes(key(k), this.block(1, direction, count, i + 1))));
  }

  /** An unconfirmed uplink with a payload of so many bytes. */
  send({ fopts = '', bytes = 4, datr = 'SF7BW125' } = {}) {
    const f = key(fopts);
    const n = this.fCnt++;
    const head = Buffer.concat([Buffer.from([0x40]), Buffer.from(key(this.devAddr)).reverse(), Buffer.from([f.length, n & 0xff, n >> 8])]);
    const message = Buffer.concat([head, f, Buffer.from([10]), xor(Buffer.alloc(bytes, 0x42), this.stream(this.appSKey, 0, n, bytes))]);
    const phy = Buffer.concat([message, cmac(key(this.nwkSKey), Buffer.concat([this.block(0x49, 0, n, message.length), message])).subarray(0, 4)]);
    const tmst = Number((process.hrtime.bigint() - this.started) / 1000n) >>> 0;
    const rxpk = { tmst, chan: 0, rfch: 0, freq: 868.1, stat: 1, modu: 'LORA', datr, codr: '4/5', rssi: -60, lsnr: 9, size: phy.length, data: phy.toString('base64') };
    this.datagram(0, JSON.stringify({ rxpk: [rxpk] }));
  }
}
