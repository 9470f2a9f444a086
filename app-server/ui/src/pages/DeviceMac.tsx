/* MAC commands of one's own: what waits, a form to queue one, and what network and device said to each other of late. */
import { Alert, Button, NumberInput, SegmentedControl, Select, Skeleton, Switch, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconArrowDown, IconArrowUp, IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useCallback, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { queryClient, q } from '../api/queries';
import { useLocale } from '../i18n';
import { bytesToBase64, bytesToHex, clock, dateTime, groupByTwo, hexToBytes, whole } from '../lib/format';
import { frameKey, frameTime, mergeFrames, outcomeTone, readFrame, type Frame } from '../lib/frames';
import { cidText, decodeMac, encodeMac, fieldFits, fieldMax, MAC_COMMANDS, macName, parseCid, stepOf, type FieldValues, type MacField } from '../lib/mac';
import { useStream } from '../live/useStream';
import { CardHead, Empty } from '../ui/bits';
import { PlainTable } from '../ui/DataTable';
import { DeleteDialog, FormActions, saved, useSave, type InputProps } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';

const route = getRouteApi('/shell/devices/$devEui/mac-commands');

/** Frames with MAC commands that are shown, of those that are kept. */
const SHOWN = 20;
const KEEP = 200;

export function DeviceMac() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { application, profile, may } = useDevice(devEui);
  const me = useQuery(q.profile());
  const waiting = useQuery(q.macCommands(devEui));
  const [frames, setFrames] = useState<readonly Frame[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useStream(`/api/live/devices/${devEui}/frames`, (more) => {
    setFrames((old) => mergeFrames(old, more.map((e) => readFrame(e.data, e.id)).filter((f) => f !== undefined), KEEP));
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void queryClient.invalidateQueries({ queryKey: ['device', 'mac', devEui] });
    }, 300);
  });
  if (waiting.error) return <Failure error={waiting.error} retry={() => void waiting.refetch()} />;
  const known = me.data !== undefined && application !== undefined;
  const refused = known && waiting.data ? (!may ? t('mac.noRight') : !waiting.data.isActivated ? t('mac.notActivated') : undefined) : undefined;
  return (
    <div className="mac">
      <Waiting devEui={devEui} list={waiting.data} may={may} />
      {profile && known && waiting.data ? <Send devEui={devEui} profile={profile} refused={refused} /> : <Skeleton h={280} />}
      <Recent devEui={devEui} frames={frames} />
    </div>
  );
}

function Waiting({ devEui, list, may }: { devEui: string; list: Schemas['longwave.app.v1.ListMacCommandsResponse'] | undefined; may: boolean }) {
  const { t } = useTranslation();
  const [doomed, setDoomed] = useState(false);
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <CardHead title={t('mac.waiting')}>
        {list && list.commands.length > 0 && (
          <>
            <span className="dim tabular" style={{ fontSize: 12.5 }}>{t('mac.room', { bytes: list.bytes, max: list.maxBytes })}</span>
            {may && (
              <Button size="compact-xs" variant="default" onClick={() => setDoomed(true)}>
                {t('mac.discard')}
              </Button>
            )}
          </>
        )}
      </CardHead>
      {!list ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : list.commands.length === 0 ? (
        <Empty title={t('mac.none')} text={t('mac.noneText')} />
      ) : (
        <PlainTable
          label={t('mac.waiting')}
          rows={list.commands.map((command, i) => ({ ...command, i }))}
          rowKey={(r) => r.i}
          columns={[
            { id: 'name', label: t('mac.command'), render: (r) => macName(r) },
            { id: 'values', label: t('mac.values'), grow: true, render: (r) => <Values of={r} /> },
          ]}
        />
      )}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={devEui}
        title={t('mac.discard')}
        text={t('mac.discardText')}
        action={() => ok(api.DELETE('/api/longwave/devices/{devEui}/mac-commands', { params: { path: { devEui } } }))}
        done={async () => {
          saved(t('mac.discarded'));
          await queryClient.invalidateQueries({ queryKey: ['device', 'mac', devEui] });
        }}
      />
    </section>
  );
}

/** Values by name; of a command without a name its bytes. */
function Values({ of: m }: { of: { name: string; text: string } }) {
  const text = m.name ? m.text : groupByTwo(m.text);
  return <span className="mono" style={{ whiteSpace: 'normal', overflowWrap: 'anywhere' }}>{text || '–'}</span>;
}

function Recent({ devEui, frames }: { devEui: string; frames: readonly Frame[] }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const shown = useMemo(() => frames.filter((f) => f.macCommands.length > 0).slice(0, SHOWN), [frames]);
  return (
    <section className="card" style={{ minWidth: 0 }} aria-label={t('mac.recent')}>
      <CardHead title={t('mac.recent')}>
        <Link to="/devices/$devEui/live" params={{ devEui }} style={{ fontSize: 12.5 }}>{t('mac.frames')}</Link>
      </CardHead>
      {shown.length === 0 ? (
        <Empty title={t('mac.recentNone')} text={t('mac.recentText')} />
      ) : (
        <ul className="lines mac-frames">
          {shown.map((f) => {
            const time = frameTime(f);
            return (
              <li key={frameKey(f)}>
                <span className="tabular dim" title={time === undefined ? undefined : dateTime(time, locale)}>{time === undefined ? '' : clock(time, locale).slice(0, 8)}</span>
                {f.uplink ? <IconArrowUp size={15} role="img" aria-label={t('live.up')} /> : <IconArrowDown size={15} role="img" aria-label={t('live.down')} color="var(--lw-accent)" />}
                <div>
                  {f.macCommands.map((m, i) => (
                    <div key={i}>
                      <span style={{ fontWeight: 550 }}>{macName(m)}</span> <span className="mono dim">{m.name ? m.text : groupByTwo(m.text)}</span>
                    </div>
                  ))}
                  {f.outcome !== 'DELIVERED' && (
                    <div className={`tone-${outcomeTone(f.outcome)}`} style={{ fontSize: 12.5 }}>
                      {[t(`outcome.${f.outcome as 'PENDING'}`, { defaultValue: f.outcome }), f.reason && f.reason !== 'REASON_NONE' && t(`reason.${f.reason as 'MALFORMED'}`, { defaultValue: f.reason })].filter(Boolean).join(': ')}
                    </div>
                  )}
                </div>
              </li>
            );
          })}
        </ul>
      )}
    </section>
  );
}

interface Form extends Record<string, unknown> {
  /** An identifier in decimal, or 'cid': typed by hand. */
  choice: string;
  mode: 'fields' | 'hex';
  cid: string;
  payload: string;
  fields: FieldValues;
}

const kindOf = (choice: string) => MAC_COMMANDS.find((k) => String(k.cid) === choice);

/** Nothing is filled in: no command goes out with a value that nobody chose. */
const emptyFields = (choice: string): FieldValues => Object.fromEntries((kindOf(choice)?.fields ?? []).map((f) => [f.name, f.flag ? false : '']));

/** The command with its identifier; undefined while something does not fit. */
function bytesOf(v: Form, stepHz: number): Uint8Array | undefined {
  const kind = kindOf(v.choice);
  const cid = kind ? kind.cid : parseCid(v.cid);
  const payload = kind && v.mode === 'fields' ? (kind.fields.every((f) => fieldFits(f, v.fields[f.name], stepHz)) ? encodeMac(kind, v.fields, stepHz) : undefined) : hexToBytes(v.payload);
  if (cid === undefined || !payload || (kind && payload.length !== kind.length)) return undefined;
  return Uint8Array.from([cid, ...payload]);
}

function Send({ devEui, profile, refused }: { devEui: string; profile: Schemas['api.DeviceProfile']; refused: string | undefined }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const step = stepOf(profile.region);
  const check = useCallback(
    (v: Form): Record<string, string> => {
      const kind = kindOf(v.choice);
      const wrong: Record<string, string> = {};
      if (kind && v.mode === 'fields') {
        for (const field of kind.fields) if (!fieldFits(field, v.fields[field.name], step)) wrong[`fields.${field.name}`] = t(field.hz ? 'mac.frequency' : 'mac.range', { max: whole(fieldMax(field, step), locale), step });
        return wrong;
      }
      const payload = hexToBytes(v.payload);
      if (!payload) wrong.payload = t('queue.notHex');
      else if (kind && payload.length !== kind.length) wrong.payload = t('mac.exactly', { count: kind.length });
      if (!kind && parseCid(v.cid) === undefined) wrong.cid = t('mac.notCid');
      return wrong;
    },
    [t, step, locale],
  );
  const form = useForm<Form>({ initialValues: { choice: '6', mode: 'fields', cid: '80', payload: '', fields: {} }, validate: check });
  const v = form.values;
  const kind = kindOf(v.choice);
  const bytes = bytesOf(v, step);
  const { submit, saving, alert } = useSave({
    form,
    hints: { 'cut off': 'payload', identifier: 'cid' },
    save: (values: Form) => ok(api.POST('/api/longwave/devices/{devEui}/mac-commands', { params: { path: { devEui } }, body: { commands: bytesToBase64(bytesOf(values, step) ?? new Uint8Array()) } })),
    done: async () => {
      form.setValues({ payload: '', fields: emptyFields(form.getValues().choice) });
      saved(t('mac.queued'));
      await queryClient.invalidateQueries({ queryKey: ['device', 'mac', devEui] });
    },
  });
  const choose = (choice: string) => {
    form.setValues({ choice, payload: '', fields: emptyFields(choice) });
    form.clearErrors();
  };
  /** What was given one way is taken along to the other. */
  const turn = (mode: Form['mode']) => {
    form.clearErrors();
    const payload = hexToBytes(v.payload);
    if (mode === 'hex') form.setValues({ mode, payload: bytes ? groupByTwo(bytesToHex(bytes.subarray(1))) : '' });
    else form.setValues({ mode, fields: kind && payload?.length === kind.length ? { ...decodeMac(kind, payload, step) } : emptyFields(v.choice) });
  };
  const inFields = kind !== undefined && v.mode === 'fields';
  const groups = (['usual', 'v11', 'classB'] as const).map((group) => ({
    group: t(`mac.groups.${group}`),
    items: MAC_COMMANDS.filter((k) => k.group === group).map((k) => ({ value: String(k.cid), label: `${k.name} (${cidText(k.cid)})` })),
  }));
  return (
    <form className="form" onSubmit={submit} noValidate aria-label={t('mac.send')}>
      {refused && (
        <Alert variant="outline" color="yellow" icon={<IconInfoCircle size={18} />} bg="var(--lw-surface)">
          {refused}
        </Alert>
      )}
      {alert}
      <fieldset disabled={refused !== undefined}>
        <legend>{t('mac.send')}</legend>
        <Select
          label={t('mac.command')}
          allowDeselect={false}
          searchable
          disabled={refused !== undefined}
          maxDropdownHeight={320}
          data={[...groups, { group: t('mac.groups.other'), items: [{ value: 'cid', label: t('mac.byCid') }] }]}
          value={v.choice}
          onChange={(c) => c && choose(c)}
        />
        {kind?.managed && (
          <Text size="sm" c="dimmed">
            {t('mac.managed')} <Link to="/device-profiles/$profileId" params={{ profileId: profile.id }}>{profile.name}</Link>
          </Text>
        )}
        {!kind && <TextInput label={t('mac.cid')} description={t('mac.cidHelp')} spellCheck={false} autoComplete="off" {...form.getInputProps('cid')} />}
        {kind && kind.fields.length > 0 && (
          <SegmentedControl
            size="xs"
            aria-label={t('mac.as')}
            disabled={refused !== undefined}
            data={[
              { value: 'fields', label: t('mac.fields') },
              { value: 'hex', label: t('mac.hex') },
            ]}
            value={v.mode}
            onChange={(m) => turn(m as Form['mode'])}
          />
        )}
        {kind && kind.length === 0 && <Text size="sm" c="dimmed">{t('mac.noPayload')}</Text>}
        {inFields && kind.fields.length > 0 && (
          <div className="form-row">
            {kind.fields.filter((f) => !f.flag).map((field) => (
              <Field key={field.name} field={field} stepHz={step} input={form.getInputProps(`fields.${field.name}`)} />
            ))}
          </div>
        )}
        {inFields && kind.fields.filter((f) => f.flag).map((field) => <Switch key={field.name} label={`${field.name} (400 ms)`} {...form.getInputProps(`fields.${field.name}`, { type: 'checkbox' })} />)}
        {!inFields && !(kind && kind.length === 0) && (
          <TextInput
            label={t('mac.payload')}
            description={kind ? t('mac.exactly', { count: kind.length }) : t('mac.payloadHelp')}
            spellCheck={false}
            autoComplete="off"
            styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
            {...form.getInputProps('payload')}
          />
        )}
        {!kind && (parseCid(v.cid) ?? 0) >= 0x80 && <Text size="sm" c="dimmed">{t('mac.proprietaryHelp')}</Text>}
        <Text size="sm">
          <span className="dim">{t('mac.onAir')}:</span> <span className="mono" data-testid="on-air">{bytes ? groupByTwo(bytesToHex(bytes)) : '–'}</span>
          {bytes && <span className="dim"> · {t('live.bytes', { count: bytes.length })}</span>}
        </Text>
      </fieldset>
      {refused ? (
        <div className="form-actions">
          <Button disabled>{t('mac.queue')}</Button>
        </div>
      ) : (
        <FormActions saving={saving} label={t('mac.queue')} />
      )}
    </form>
  );
}

function Field({ field, stepHz, input }: { field: MacField; stepHz: number; input: InputProps }) {
  const locale = useLocale();
  if (field.hz) return <NumberInput label={field.name} thousandSeparator=" " suffix=" Hz" hideControls allowNegative={false} allowDecimal={false} {...input} />;
  const range = `0 – ${whole(fieldMax(field, stepHz), locale)}`;
  if (field.bits === 16) return <TextInput label={field.name} description={`${range}, 0x0000 – 0xFFFF`} spellCheck={false} autoComplete="off" {...input} />;
  return <NumberInput label={field.name} description={range} min={0} max={fieldMax(field, stepHz)} clampBehavior="none" allowNegative={false} allowDecimal={false} {...input} />;
}
