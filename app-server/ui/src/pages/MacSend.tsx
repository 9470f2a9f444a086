/* The form that queues a MAC command for a device: by name and fields, in hex, or by identifier. */
import { NumberInput, SegmentedControl, Select, Switch, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { queryClient } from '../api/queries';
import { useLocale } from '../i18n';
import { bytesToBase64, bytesToHex, groupByTwo, hexToBytes, whole } from '../lib/format';
import { cidText, decodeMac, emptyFields, fieldFits, fieldMax, MAC_COMMANDS, macBytes, parseCid, stepOf, type MacCommandKind, type MacField, type MacInput } from '../lib/mac';
import { PageForm, saved, useSave, type InputProps } from '../ui/form';

/** The choice of a command that is given by its identifier. */
const BY_CID = 'cid';

interface Values extends Omit<MacInput, 'kind'>, Record<string, unknown> {
  /** An identifier in decimal, or BY_CID. */
  choice: string;
}

const kindOf = (choice: string) => MAC_COMMANDS.find((k) => String(k.cid) === choice);
const inputOf = (v: Values): MacInput => ({ ...v, kind: kindOf(v.choice) });

/** What does not fit, by field. */
function useCheck(stepHz: number) {
  const { t } = useTranslation();
  const locale = useLocale();
  return (v: Values): Record<string, string> => {
    const { kind, mode, fields } = inputOf(v);
    if (kind && mode === 'fields')
      return Object.fromEntries(
        kind.fields.filter((f) => !fieldFits(f, fields[f.name], stepHz)).map((f) => [`fields.${f.name}`, t(f.hz ? 'mac.frequency' : 'mac.range', { max: whole(fieldMax(f, stepHz), locale), step: stepHz })]),
      );
    const wrong: Record<string, string> = {};
    const payload = hexToBytes(v.payload);
    if (!payload) wrong.payload = t('queue.notHex');
    else if (kind && payload.length !== kind.length) wrong.payload = t('mac.exactly', { count: kind.length });
    if (!kind && parseCid(v.cid) === undefined) wrong.cid = t('mac.notCid');
    return wrong;
  };
}

/** `room`: bytes that may wait, and how many of them still can. */
export function MacSend({ devEui, profile, room }: { devEui: string; profile: Schemas['api.DeviceProfile']; room: { free: number; max: number } }) {
  const { t } = useTranslation();
  const stepHz = stepOf(profile.region);
  const form = useForm<Values>({ initialValues: { choice: String(MAC_COMMANDS[0]!.cid), mode: 'fields', cid: '80', payload: '', fields: {} }, validate: useCheck(stepHz) });
  const v = form.values;
  const kind = kindOf(v.choice);
  const bytes = macBytes(inputOf(v), stepHz);
  const { submit, saving, alert } = useSave({
    form,
    hints: { 'cut off': 'payload', identifier: 'cid' },
    save: (values: Values) => ok(api.POST('/api/longwave/devices/{devEui}/mac-commands', { params: { path: { devEui } }, body: { commands: bytesToBase64(macBytes(inputOf(values), stepHz) ?? new Uint8Array()) } })),
    done: async () => {
      form.setValues({ payload: '', fields: emptyFields(kindOf(form.getValues().choice)) });
      saved(t('mac.queued'));
      await queryClient.invalidateQueries({ queryKey: ['device', 'mac', devEui] });
    },
  });
  const choose = (choice: string) => {
    form.setValues({ choice, payload: '', fields: emptyFields(kindOf(choice)) });
    form.clearErrors();
  };
  /** What was given one way is taken along to the other. */
  const turn = (mode: Values['mode']) => {
    form.clearErrors();
    const payload = hexToBytes(v.payload);
    if (mode === 'hex') form.setValues({ mode, payload: bytes ? groupByTwo(bytesToHex(bytes.subarray(1))) : '' });
    else form.setValues({ mode, fields: kind && payload?.length === kind.length ? decodeMac(kind, payload, stepHz) : emptyFields(kind) });
  };
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={t('mac.queue')} name={t('mac.send')}>
      <fieldset>
        <legend>{t('mac.send')}</legend>
        <CommandSelect value={v.choice} onChange={choose} />
        {kind?.managed && (
          <Text size="sm" c="dimmed">
            {t('mac.managed')} <Link to="/device-profiles/$profileId" params={{ profileId: profile.id }}>{profile.name}</Link>
          </Text>
        )}
        {kind && kind.fields.length > 0 && (
          <SegmentedControl
            size="xs"
            aria-label={t('mac.as')}
            data={[
              { value: 'fields', label: t('mac.fields') },
              { value: 'hex', label: t('mac.hex') },
            ]}
            value={v.mode}
            onChange={(m) => turn(m as Values['mode'])}
          />
        )}
        {kind && kind.length === 0 && <Text size="sm" c="dimmed">{t('mac.noPayload')}</Text>}
        {kind && v.mode === 'fields' && <Fields kind={kind} stepHz={stepHz} input={(name, type) => form.getInputProps(`fields.${name}`, { type })} />}
        {!kind && <TextInput label={t('mac.cid')} description={t('mac.cidHelp')} spellCheck={false} autoComplete="off" {...form.getInputProps('cid')} />}
        {(kind ? v.mode === 'hex' && kind.length > 0 : true) && (
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
          {bytes && bytes.length > room.free && <span className="tone-bad"> · {t('mac.free', { count: room.free, max: room.max })}</span>}
        </Text>
      </fieldset>
    </PageForm>
  );
}

function CommandSelect({ value, onChange }: { value: string; onChange: (choice: string) => void }) {
  const { t } = useTranslation();
  const groups = (['usual', 'v11', 'classB'] as const).map((group) => ({
    group: t(`mac.groups.${group}`),
    items: MAC_COMMANDS.filter((k) => k.group === group).map((k) => ({ value: String(k.cid), label: `${k.name} (${cidText(k.cid)})` })),
  }));
  return (
    <Select
      label={t('mac.command')}
      allowDeselect={false}
      searchable
      maxDropdownHeight={320}
      data={[...groups, { group: t('mac.groups.other'), items: [{ value: BY_CID, label: t('mac.byCid') }] }]}
      value={value}
      onChange={(choice) => choice && onChange(choice)}
    />
  );
}

/** One input a field; switches below. */
function Fields({ kind, stepHz, input }: { kind: MacCommandKind; stepHz: number; input: (name: string, type: 'input' | 'checkbox') => InputProps }) {
  const numbers = kind.fields.filter((f) => !f.flag);
  return (
    <>
      {numbers.length > 0 && (
        <div className="form-row">
          {numbers.map((f) => (
            <Field key={f.name} field={f} stepHz={stepHz} input={input(f.name, 'input')} />
          ))}
        </div>
      )}
      {kind.fields
        .filter((f) => f.flag)
        .map((f) => (
          <Switch key={f.name} label={`${f.name} (400 ms)`} {...input(f.name, 'checkbox')} />
        ))}
    </>
  );
}

function Field({ field, stepHz, input }: { field: MacField; stepHz: number; input: InputProps }) {
  const locale = useLocale();
  if (field.hz) return <NumberInput label={field.name} thousandSeparator=" " suffix=" Hz" hideControls allowNegative={false} allowDecimal={false} {...input} />;
  const range = `0 – ${whole(fieldMax(field, stepHz), locale)}`;
  if (field.bits === 16) return <TextInput label={field.name} description={`${range}, 0x0000 – 0xFFFF`} spellCheck={false} autoComplete="off" {...input} />;
  return <NumberInput label={field.name} description={range} min={0} max={fieldMax(field, stepHz)} clampBehavior="none" allowNegative={false} allowDecimal={false} {...input} />;
}
