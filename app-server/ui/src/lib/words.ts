/* Words for what the API names by constants. A constant that this interface does not know stands as it is. Pure. */
import type { TFunction } from 'i18next';

export const outcomeWord = (outcome: string, t: TFunction): string => t(`outcome.${outcome as 'DELIVERED'}`, { defaultValue: outcome });

/** Empty where there is no reason. */
export const reasonWord = (reason: string, t: TFunction): string => (reason && reason !== 'REASON_NONE' ? t(`reason.${reason as 'MALFORMED'}`, { defaultValue: reason }) : '');
