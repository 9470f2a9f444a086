/* What the queues of a device and of a multicast group share: the table of what waits, emptying it, the payload that is typed. */
import { Button, NumberInput, SegmentedControl, Skeleton, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { base64ToBytes, bytesToHex, encodePayload, ENCODINGS, groupByTwo, type Encoding } from '../lib/format';
import { Ago, CardHead, Empty } from '../ui/bits';
import { PlainTable, type Column } from '../ui/DataTable';
import { DeleteDialog, saved, type InputProps } from '../ui/form';

interface Waiting {
  fPort: number;
  data: string;
  expiresAt?: string | null;
}

/** Columns that every queue has. */
export function useQueueColumns<R extends Waiting>(): { port: Column<R>; data: Column<R>; expires: Column<R> } {
  const { t } = useTranslation();
  const hex = (r: R) => groupByTwo(bytesToHex(base64ToBytes(r.data)));
  return {
    port: { id: 'port', label: t('live.port'), numeric: true, render: (r) => r.fPort },
    data: { id: 'data', label: t('queue.data'), grow: true, render: (r) => <span className="mono" title={hex(r)}>{hex(r) || '–'}</span> },
    expires: { id: 'expires', label: t('queue.expires'), wide: true, render: (r) => (r.expiresAt ? <Ago at={r.expiresAt} /> : '–') },
  };
}

interface CardProps<R> {
  items: readonly R[] | undefined;
  itemKey: (r: R) => string | number;
  columns: Column<R>[];
  emptyText: string;
  /** Whose queue it is. */
  name: string;
  flushText: string;
  flush: () => Promise<unknown>;
  flushed: () => Promise<unknown>;
  may: boolean | undefined;
}

export function QueueCard<R>({ items, itemKey, columns, emptyText, name, flushText, flush, flushed, may }: CardProps<R>) {
  const { t } = useTranslation();
  const [doomed, setDoomed] = useState(false);
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <CardHead title={t('queue.waiting')}>
        {may && items && items.length > 0 && (
          <Button size="compact-xs" variant="default" onClick={() => setDoomed(true)}>
            {t('queue.flush')}
          </Button>
        )}
      </CardHead>
      {items === undefined ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : items.length === 0 ? (
        <Empty title={t('queue.none')} text={emptyText} />
      ) : (
        <PlainTable label={t('queue.waiting')} columns={columns} rows={items} rowKey={itemKey} />
      )}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={name}
        title={t('queue.flush')}
        text={flushText}
        verb={t('queue.flush')}
        action={flush}
        done={async () => {
          saved(t('queue.flushed'));
          await flushed();
        }}
      />
    </section>
  );
}

/** The encoding that is chosen and, for a form, the check of what was typed in it. */
export function useEncoding() {
  const { t } = useTranslation();
  const [encoding, setEncoding] = useState<Encoding>('hex');
  return { encoding, setEncoding, check: (text: string) => (encodePayload(text, encoding) ? null : t(encoding === 'hex' ? 'queue.notHex' : 'queue.notBase64')) };
}

interface PayloadProps {
  form: {
    values: { data: string };
    getInputProps: (field: 'fPort' | 'data') => InputProps;
    clearFieldError: (field: 'data') => void;
  };
  encoding: Encoding;
  setEncoding: (e: Encoding) => void;
}

export function PayloadFields({ form, encoding, setEncoding }: PayloadProps) {
  const { t } = useTranslation();
  const bytes = encodePayload(form.values.data, encoding);
  const choose = (e: Encoding) => {
    setEncoding(e);
    form.clearFieldError('data'); // it was about the other encoding
  };
  return (
    <>
      <NumberInput label={t('live.port')} min={0} max={255} clampBehavior="none" {...form.getInputProps('fPort')} />
      <SegmentedControl size="xs" aria-label={t('queue.encoding')} data={ENCODINGS.map((e) => ({ value: e, label: t(`queue.as_${e}`) }))} value={encoding} onChange={(v) => choose(v as Encoding)} />
      <Textarea label={t('queue.data')} description={bytes ? t('live.bytes', { count: bytes.length }) : ' '} autosize minRows={2} maxRows={8} spellCheck={false} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }} {...form.getInputProps('data')} />
    </>
  );
}
