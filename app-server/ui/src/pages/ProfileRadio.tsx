/* Data rate and MAC commands of a device profile, beyond what the profile itself can say. */
import { NumberInput, SegmentedControl, Select, Skeleton, Switch, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { useLocale } from '../i18n';
import { api, ok } from '../api/client';
import { changed, q } from '../api/queries';
import { parseChannels, radioOf, radioValues, type Radio, type RadioValues } from '../lib/radio';
import { PageForm, saved, useSave } from '../ui/form';
import { Failure } from '../ui/Page';

function RadioForm({ id, radio, is11, classB, readOnly }: { id: string; radio: Radio | null; is11: boolean; classB: boolean; readOnly: boolean }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const form = useForm<RadioValues>({
    initialValues: radioValues(radio),
    validate: {
      downlinkChannels: (text) => (parseChannels(text) ? null : t('radio.channelsWrong')),
      minDr: (min, v) => (v.mode === 'DYNAMIC' && min !== '' && v.maxDr === '' ? t('radio.both') : null),
      maxDr: (max, v) => (v.mode === 'DYNAMIC' && max !== '' && v.minDr === '' ? t('radio.both') : null),
    },
  });
  const v = form.values;
  const { submit, saving, alert } = useSave({
    form,
    save: (values: RadioValues) => ok(api.PUT('/api/longwave/device-profiles/{id}/radio', { params: { path: { id } }, body: { radio: radioOf(values) } })),
    done: async () => {
      await changed('profile-device');
      saved(t('common.saved'));
    },
  });
  const share = (n: number) => new Intl.NumberFormat(locale, { style: 'percent', maximumSignificantDigits: 2 }).format(1 / 2 ** n);
  const dr = { min: 0, max: 15, allowDecimal: false } as const;
  const unset = t('radio.unset');
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={t('radio.save')} name={t('radio.title')} readOnly={readOnly}>
      <fieldset>
        <legend>{t('radio.adr')}</legend>
        <SegmentedControl
          aria-label={t('radio.adr')}
          disabled={readOnly}
          data={[
            { value: 'DYNAMIC', label: t('radio.dynamic') },
            { value: 'STATIC', label: t('radio.static') },
            { value: 'OFF', label: t('radio.off') },
          ]}
          {...form.getInputProps('mode')}
        />
        <Text size="sm" c="dimmed">{t(`radio.help.${v.mode}`)}</Text>
        {v.mode === 'DYNAMIC' && (
          <div className="form-row">
            <NumberInput label={t('radio.minDr')} placeholder={unset} {...dr} {...form.getInputProps('minDr')} />
            <NumberInput label={t('radio.maxDr')} placeholder={unset} {...dr} {...form.getInputProps('maxDr')} />
          </div>
        )}
        {v.mode === 'STATIC' && (
          <div className="form-row">
            <NumberInput label={t('radio.dr')} {...dr} {...form.getInputProps('dr')} />
            <NumberInput label={t('radio.power')} description={t('radio.powerHelp')} {...dr} {...form.getInputProps('txPowerIndex')} />
            <NumberInput label={t('radio.nbTrans')} {...dr} min={1} {...form.getInputProps('nbTrans')} />
          </div>
        )}
      </fieldset>
      <fieldset>
        <legend>{t('radio.mac')}</legend>
        <Text size="sm" c="dimmed">{t('radio.macHelp')}</Text>
        <div className="form-row">
          <Select
            label={t('radio.dutyCycle')}
            description="DutyCycleReq"
            allowDeselect={false}
            data={[{ value: '', label: unset }, ...Array.from({ length: 16 }, (_, n) => ({ value: String(n), label: n === 0 ? t('radio.noLimit') : `${share(n)} (1/2^${n})` }))]}
            {...form.getInputProps('maxDutyCycle')}
          />
          <NumberInput label={t('radio.eirp')} description="TxParamSetupReq" placeholder={unset} suffix=" dBm" min={8} max={36} allowDecimal={false} {...form.getInputProps('maxEirpDbm')} />
        </div>
        {v.maxEirpDbm !== '' && (
          <>
            <Switch label={t('radio.uplinkDwell')} {...form.getInputProps('uplinkDwell', { type: 'checkbox' })} />
            <Switch label={t('radio.downlinkDwell')} {...form.getInputProps('downlinkDwell', { type: 'checkbox' })} />
          </>
        )}
        {is11 && (
          <div className="form-row">
            <NumberInput label={t('radio.limit')} description="ADRParamSetupReq" placeholder={unset} {...dr} {...form.getInputProps('limitExp')} />
            <NumberInput label={t('radio.delay')} description="ADRParamSetupReq" placeholder={unset} {...dr} {...form.getInputProps('delayExp')} />
            <NumberInput label={t('radio.rejoinTime')} description="RejoinParamSetupReq" placeholder={unset} {...dr} {...form.getInputProps('maxTimeN')} />
            <NumberInput label={t('radio.rejoinCount')} description="RejoinParamSetupReq" placeholder={unset} {...dr} {...form.getInputProps('maxCountN')} />
          </div>
        )}
        {classB && <NumberInput label={t('radio.beacon')} description={`BeaconFreqReq. ${t('profiles.zeroRegion')}`} min={0} step={100_000} thousandSeparator=" " suffix=" Hz" hideControls {...form.getInputProps('beaconFreqHz')} />}
        <Textarea label={t('radio.channels')} description={`DlChannelReq. ${t('radio.channelsHelp')}`} placeholder={readOnly ? '–' : '0 869525000'} autosize minRows={1} maxRows={8} spellCheck={false} {...form.getInputProps('downlinkChannels')} />
      </fieldset>
    </PageForm>
  );
}

export function ProfileRadio({ id, is11, classB, readOnly }: { id: string; is11: boolean; classB: boolean; readOnly: boolean }) {
  const { t } = useTranslation();
  const query = useQuery(q.deviceProfileRadio(id));
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return (
    <section aria-label={t('radio.title')} style={{ marginTop: 24 }}>
      {query.isPending ? <Skeleton h={240} maw={720} /> : <RadioForm key={query.dataUpdatedAt} id={id} radio={query.data.radio ?? null} is11={is11} classB={classB} readOnly={readOnly} />}
    </section>
  );
}
