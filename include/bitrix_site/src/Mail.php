<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/**
 * Hands letters of chosen mail events to the inbox instead of the site's own mailer.
 *
 * Taken: the site does not send. Certainly not taken: the site sends as it always did, at once. No certain answer: the
 * letter waits in the queue and is offered again under the same id, which the inbox knows; after ten minutes the site
 * sends it. Letters with files stay with the site.
 */
final class Mail
{
    public const ID = 'LETTERTRAIL_EVENT_ID';
    public const HAS_FILES = 'LETTERTRAIL_HAS_FILES';
    public const OWN_MAIL = 'LETTERTRAIL_OWN_MAIL';
    private const MARKS = [self::ID, self::HAS_FILES, self::OWN_MAIL];

    /** Gives the row of the mail queue an id of its own, which outlives a second try of Bitrix. */
    public static function onBeforeEventAdd(&$event, &$lid, &$fields, &$messageId = null, &$files = null): void
    {
        if (is_array($fields) && in_array($event, Site::config()->mail, true)) {
            $fields[self::ID] = $fields[self::ID] ?? bin2hex(random_bytes(16));
            if (!empty($files)) {
                $fields[self::HAS_FILES] = 'Y';
            }
        }
    }

    /** False: the site must not send. */
    public static function onBeforeEventSend(&$fields, &$message, $context = null, &$result = null)
    {
        try {
            if (!self::isOurs($fields, $message) || !self::handOver($fields, $message)) {
                return null;
            }
        } catch (\Throwable $error) {
            error_log('lettertrail: a letter stays with the site: ' . get_class($error));

            return null;
        }
        if (is_array($result)) {
            // Otherwise the queue would show "no template".
            $result['Was'] = true;
            $result['Success'] = true;
        }

        return false;
    }

    public static function sendByTheSite(array $event): void
    {
        $event['C_FIELDS'][self::OWN_MAIL] = 'Y';
        \Bitrix\Main\Mail\Event::sendImmediate($event);
    }

    private static function isOurs($fields, $message): bool
    {
        return is_array($fields)
            && is_array($message)
            && in_array($message['EVENT_NAME'] ?? '', Site::config()->mail, true)
            && empty($fields[self::OWN_MAIL])
            && empty($fields[self::HAS_FILES])
            && empty($message['FILE']);
    }

    private static function handOver(array $fields, array $message): bool
    {
        $queue = new Queue(Site::config()->queue);
        if ($queue->restsUntil() > time()) {
            return false;
        }
        $letter = self::letter($fields, $message);
        if ($letter === null) {
            return false;
        }
        $id = ($fields[self::ID] ?? bin2hex(random_bytes(16))) . '-' . (int) ($message['ID'] ?? 0);
        $event = Site::event('mail', $letter, $id);
        $answer = (new Inbox(Site::config()))->post([$event]);
        if ($answer === Inbox::TAKEN) {
            return true;
        }
        if ($answer !== Inbox::UNWANTED) {
            // Nobody waits for a silent inbox with every letter.
            $queue->rest(time() + 60);
        }

        return $answer === Inbox::UNKNOWN
            && $queue->put(['event' => $event, 'queued_at' => time(), 'own_mail' => self::ownMail($fields, $message)]);
    }

    /** The letter as Bitrix itself would make it; null when it has nobody to go to. */
    private static function letter(array $fields, array $message): ?array
    {
        $site = self::siteOf($message);
        $shown = array_diff_key($fields, array_flip(self::MARKS));
        $compiler = \Bitrix\Main\Mail\EventMessageCompiler::createInstance([
            'EVENT' => ['EVENT_NAME' => $message['EVENT_NAME']],
            'FIELDS' => $shown,
            'MESSAGE' => $message,
            'SITE' => [$site],
            'CHARSET' => 'UTF-8',
        ]);
        $compiler->compile();
        $headers = $compiler->getMailHeaders();
        if (strpos((string) $compiler->getMailTo(), '@') === false || !empty($headers['BCC']) || !empty($headers['CC'])) {
            return null;
        }

        return array_filter([
            'event_name' => (string) $message['EVENT_NAME'],
            'message_id' => (string) ($message['ID'] ?? ''),
            'site_id' => $site,
            'language' => (string) ($message['LANGUAGE_ID'] ?? (defined('LANGUAGE_ID') ? LANGUAGE_ID : '')),
            'to' => (string) $compiler->getMailTo(),
            'from' => (string) ($headers['From'] ?? ''),
            'reply_to' => (string) ($headers['Reply-To'] ?? ''),
            'subject' => (string) $compiler->getMailSubject(),
            'body' => (string) $compiler->getMailBody(),
            'body_type' => $compiler->getMailContentType() === 'html' ? 'html' : 'text',
        ], 'strlen') + ['fields' => (object) array_filter($shown, 'is_scalar')];
    }

    private static function ownMail(array $fields, array $message): array
    {
        return [
            'EVENT_NAME' => $message['EVENT_NAME'],
            'MESSAGE_ID' => (int) ($message['ID'] ?? 0),
            'LID' => self::siteOf($message),
            'LANGUAGE_ID' => (string) ($message['LANGUAGE_ID'] ?? ''),
            'C_FIELDS' => $fields,
            'DUPLICATE' => 'N',
        ];
    }

    private static function siteOf(array $message): string
    {
        return (string) ($message['LID'] ?? (defined('SITE_ID') ? SITE_ID : 's1'));
    }
}
