/* The fields of a multicast group. */
import { Group, NumberInput, Select, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { changed, q } from '../api/queries';
import { groupOf, groupValues, slots, type GroupValues, type Group as MulticastGroup } from '../lib/multicast';
import { Generate, KeyField, PageForm, saved, useSave } from '../ui/form';

export function GroupForm({ applicationId, group, readOnly, done }: { applicationId: string; group?: MulticastGroup; readOnly?: boolean; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const regions = useQuery(q.regions());
  const form = useForm<GroupValues>({ initialValues: groupValues(group) });
  const { submit, saving, alert } = useSave({
    form,
    hints: { mc_addr: 'mcAddr', mc_nwk_s_key: 'mcNwkSKey', mc_app_s_key: 'mcAppSKey', class_b_ping_slot_periodicity: 'periodicity' },
    save: async (v: GroupValues) => {
      const body = { multicastGroup: groupOf(v, applicationId, group?.id) };
      if (!group) return (await ok(api.POST('/api/multicast-groups', { body }))).id;
      await ok(api.PUT('/api/multicast-groups/{id}', { params: { path: { id: group.id } }, body }));
      return group.id;
    },
    done: async (id) => {
      await changed('multicast');
      saved(t('common.saved'));
      await done(id);
    },
  });
  const names = [...new Set([...(regions.data?.regions ?? []).map((r) => r.region as string), form.values.region])].sort();
  const key = (field: 'mcNwkSKey' | 'mcAppSKey') => <KeyField label={t(`multicast.${field}`)} input={form.getInputProps(field)} generated={(k) => form.setFieldValue(field, k)} />;
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={group ? t('common.save') : t('multicast.add')} readOnly={readOnly} cancel={!group && { to: '/applications/$applicationId/multicast', params: { applicationId } }}>
      <fieldset>
        <legend>{t('multicast.one')}</legend>
        <TextInput label={t('common.name')} data-autofocus {...form.getInputProps('name')} />
        <Select
          label={t('multicast.mode')}
          description={t(`multicast.${form.values.mode}_help`)}
          allowDeselect={false}
          data={(['SPACED', 'GPS_TIME', 'CLASS_B'] as const).map((m) => ({ value: m, label: t(`multicast.${m}`) }))}
          {...form.getInputProps('mode')}
        />
      </fieldset>
      <fieldset>
        <legend>{t('multicast.session')}</legend>
        <Group gap={6} align="flex-end" wrap="nowrap">
          <TextInput style={{ flex: 1 }} label={t('multicast.mcAddr')} autoComplete="off" spellCheck={false} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }} {...form.getInputProps('mcAddr')} />
          <Generate label={t('multicast.mcAddr')} bytes={4} generated={(address) => form.setFieldValue('mcAddr', address)} raised={form.errors.mcAddr !== undefined} />
        </Group>
        {key('mcNwkSKey')}
        {key('mcAppSKey')}
        <NumberInput label={t('multicast.fCnt')} description={t('multicast.fCntHelp')} min={0} {...form.getInputProps('fCnt')} />
      </fieldset>
      <fieldset>
        <legend>{t('multicast.radio')}</legend>
        <div className="form-row">
          <Select label={t('multicast.region')} allowDeselect={false} data={names} {...form.getInputProps('region')} />
          <NumberInput label={t('multicast.dr')} min={0} max={15} {...form.getInputProps('dr')} />
          <NumberInput label={t('multicast.frequency')} description={form.values.mode === 'CLASS_B' ? t('multicast.frequencyHelp') : undefined} decimalScale={6} hideControls suffix=" MHz" {...form.getInputProps('frequency')} />
        </div>
        {form.values.mode === 'CLASS_B' && (
          <Select
            label={t('multicast.periodicity')}
            allowDeselect={false}
            data={Array.from({ length: 8 }, (_, n) => ({ value: String(n), label: t('multicast.every', { seconds: 2 ** n, slots: slots(n) }) }))}
            {...form.getInputProps('periodicity')}
          />
        )}
      </fieldset>
    </PageForm>
  );
}
