/* The downlink queue: what waits, a form to add to it, flush. Changes when the device's events say so. */
import { Button, NumberInput, SegmentedControl, Skeleton, Switch, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { queryClient, q } from '../api/queries';
import { base64ToBytes, bytesToBase64, bytesToHex, groupByTwo, hexToBytes } from '../lib/format';
import { useStream } from '../live/useStream';
import { Ago, Empty, State } from '../ui/bits';
import { DeleteDialog, FormActions, saved, useSave } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';

const route = getRouteApi('/shell/devices/$devEui/queue');
type Encoding = 'hex' | 'base64' | 'text';

interface Values extends Record<string, unknown> {
  fPort: number | string;
  data: string;
  confirmed: boolean;
  flush: boolean;
}

/** The bytes that were typed; undefined when the text is not in its encoding. */
export function encodePayload(text: string, encoding: Encoding): Uint8Array | undefined {
  if (encoding === 'hex') return hexToBytes(text);
  if (encoding === 'text') return new TextEncoder().encode(text);
  const plain = text.replace(/\s/g, '');
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(plain) && plain.replace(/=+$/, '').length % 4 !== 1 ? base64ToBytes(plain) : undefined;
}

export function DeviceQueue() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { may } = useDevice(devEui);
  const queue = useQuery(q.queue(devEui));
  const [doomed, setDoomed] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useStream(`/api/live/devices/${devEui}/events`, () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void queryClient.invalidateQueries({ queryKey: ['device', 'queue', devEui] });
    }, 300);
  });
  if (queue.error) return <Failure error={queue.error} retry={() => void queue.refetch()} />;
  const items = queue.data?.result;
  return (
    <div className="grid" style={{ gridTemplateColumns: may ? undefined : '1fr' }}>
      <section className="card" style={{ minWidth: 0 }}>
        <h2 style={{ display: 'flex', alignItems: 'center', minHeight: 44, paddingTop: 6, paddingBottom: 6 }}>
          {t('queue.waiting')}
          <span className="spacer" />
          {may && items && items.length > 0 && (
            <Button size="compact-xs" variant="default" onClick={() => setDoomed(true)}>
              {t('queue.flush')}
            </Button>
          )}
        </h2>
        {items === undefined ? (
          <div className="card-pad"><Skeleton h={80} /></div>
        ) : items.length === 0 ? (
          <Empty title={t('queue.none')} text={t('queue.noneText')} />
        ) : (
          <div className="table-wrap" tabIndex={0} role="region" aria-label={t('queue.waiting')}>
            <table className="table">
              <caption className="visually-hidden">{t('queue.waiting')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('common.state')}</th>
                  <th scope="col" className="num">{t('live.port')}</th>
                  <th scope="col">{t('queue.data')}</th>
                  <th scope="col">{t('queue.confirmed')}</th>
                  <th scope="col" className="num narrow-hide">{t('live.fcnt')}</th>
                  <th scope="col" className="narrow-hide">{t('queue.expires')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((i) => (
                  <tr key={i.id}>
                    <td><State tone={i.isPending ? 'warn' : 'off'}>{t(i.isPending ? 'queue.pending' : 'queue.queued')}</State></td>
                    <td className="num">{i.fPort}</td>
                    <td className="grow mono" title={groupByTwo(bytesToHex(base64ToBytes(i.data)))}>{groupByTwo(bytesToHex(base64ToBytes(i.data))) || '–'}</td>
                    <td>{i.confirmed ? t('common.yes') : t('common.no')}</td>
                    <td className="num narrow-hide">{i.isPending || i.isEncrypted ? i.fCntDown : ''}</td>
                    <td className="narrow-hide">{i.expiresAt ? <Ago at={i.expiresAt} /> : '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
      {may && <Enqueue devEui={devEui} />}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={devEui}
        title={t('queue.flush')}
        text={t('queue.flushText')}
        action={() => ok(api.DELETE('/api/devices/{devEui}/queue', { params: { path: { devEui } } }))}
        done={async () => {
          saved(t('queue.flushed'));
          await queue.refetch();
        }}
      />
    </div>
  );
}

function Enqueue({ devEui }: { devEui: string }) {
  const { t } = useTranslation();
  const [encoding, setEncoding] = useState<Encoding>('hex');
  const form = useForm<Values>({
    initialValues: { fPort: 10, data: '', confirmed: false, flush: false },
    validate: { data: (v) => (encodePayload(v, encoding) ? null : t(encoding === 'hex' ? 'queue.notHex' : 'queue.notBase64')) },
  });
  const bytes = encodePayload(form.values.data, encoding);
  const { submit, saving, alert } = useSave({
    form,
    hints: { FPort: 'fPort' },
    save: (v: Values) =>
      ok(
        api.POST('/api/devices/{devEui}/queue', {
          params: { path: { devEui } },
          body: { queueItem: { devEui, fPort: Number(v.fPort || 0), confirmed: v.confirmed, data: bytesToBase64(encodePayload(v.data, encoding) ?? new Uint8Array()) }, flushQueue: v.flush },
        }),
      ),
    done: async () => {
      form.setFieldValue('data', '');
      saved(t('queue.enqueued'));
      await queryClient.invalidateQueries({ queryKey: ['device', 'queue', devEui] });
    },
  });
  return (
    <form className="form" onSubmit={submit} noValidate>
      {alert}
      <fieldset>
        <legend>{t('queue.enqueue')}</legend>
        <NumberInput label={t('live.port')} min={0} max={255} clampBehavior="none" {...form.getInputProps('fPort')} />
        <SegmentedControl
          size="xs"
          aria-label={t('queue.encoding')}
          data={[
            { value: 'hex', label: 'Hex' },
            { value: 'base64', label: 'Base64' },
            { value: 'text', label: t('queue.text') },
          ]}
          value={encoding}
          onChange={(v) => {
            setEncoding(v as Encoding);
            form.clearFieldError('data');
          }}
        />
        <Textarea label={t('queue.data')} description={bytes ? t('live.bytes', { count: bytes.length }) : ' '} autosize minRows={2} maxRows={8} spellCheck={false} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }} {...form.getInputProps('data')} />
        <Switch label={t('queue.confirmed')} description={t('queue.confirmedHelp')} {...form.getInputProps('confirmed', { type: 'checkbox' })} />
        <Switch label={t('queue.flushFirst')} {...form.getInputProps('flush', { type: 'checkbox' })} />
      </fieldset>
      <FormActions saving={saving} label={t('queue.enqueue')} />
    </form>
  );
}
