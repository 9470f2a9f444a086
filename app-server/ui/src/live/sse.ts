/* Parser of text/event-stream, fed with pieces as they arrive from the network. */

export interface SseEvent {
  id: string;
  event: string;
  data: string;
}

export class SseParser {
  private rest = '';
  private data: string[] = [];
  private event = '';
  private id = '';
  /** Milliseconds the server asked to wait before the next connection. */
  retryMs: number | undefined;

  get lastId(): string {
    return this.id;
  }

  feed(piece: string): SseEvent[] {
    const out: SseEvent[] = [];
    this.rest += piece;
    for (;;) {
      const m = /\r\n|\n|\r/.exec(this.rest);
      // A CR at the very end may be the first half of CRLF.
      if (!m || (m[0] === '\r' && m.index === this.rest.length - 1)) return out;
      const line = this.rest.slice(0, m.index);
      this.rest = this.rest.slice(m.index + m[0].length);
      const done = this.line(line);
      if (done) out.push(done);
    }
  }

  private line(line: string): SseEvent | undefined {
    if (line === '') {
      const event = { id: this.id, event: this.event || 'message', data: this.data.join('\n') };
      const empty = this.data.length === 0;
      this.data = [];
      this.event = '';
      return empty ? undefined : event;
    }
    if (line.startsWith(':')) return undefined;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }
}
