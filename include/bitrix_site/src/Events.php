<?php

declare(strict_types=1);

namespace LetterTrail\Site;

use Bitrix\Main\Event;

/** What happens on the site, in the words of the inbox. No handler throws or changes anything. */
final class Events
{
    /** Type, module, event, method. The module `subscribe` has no events after a change, only before it. */
    public const HANDLERS = [
        ['unsubscribe', 'sender', 'OnAfterRecipientUnsub', 'onUnsubscribe'],
        ['unsubscribe', 'subscribe', 'OnBeforeSubscriptionUpdate', 'onSubscriptionUpdate'],
        ['subscribe', 'subscribe', 'OnBeforeSubscriptionAdd', 'onSubscriptionAdd'],
        ['order', 'sale', 'OnSaleOrderSaved', 'onOrder'],
        ['basket', 'sale', 'OnSaleBasketItemSaved', 'onBasketItem'],
    ];

    /** @param array $data MAILING_ID, RECIPIENT_ID, CONTACT_ID, EMAIL, ABUSE, ABUSE_TEXT. */
    public static function onUnsubscribe($data): void
    {
        $data = self::parameters($data);
        if (empty($data['EMAIL'])) {
            return;
        }
        $recipient = (int) ($data['RECIPIENT_ID'] ?? 0);
        Site::tell('unsubscribe', array_filter([
            'email' => (string) $data['EMAIL'],
            'recipient_id' => $recipient,
            'letter_id' => self::letterOf($recipient),
            'reason' => empty($data['ABUSE']) ? '' : 'abuse',
        ]));
    }

    /** Must give nothing back: `false` would stop the site's own change. */
    public static function onSubscriptionUpdate(&$fields): void
    {
        if (!is_array($fields) || ($fields['ACTIVE'] ?? 'Y') !== 'N') {
            return;
        }
        $email = (string) ($fields['EMAIL'] ?? '');
        if ($email === '' && !empty($fields['ID']) && class_exists('CSubscription')) {
            try {
                $row = \CSubscription::GetByID((int) $fields['ID'])->Fetch();
                $email = (string) ($row['EMAIL'] ?? '');
            } catch (\Throwable $error) {
                error_log('lettertrail: a subscription could not be read: ' . get_class($error));
            }
        }
        if ($email !== '') {
            Site::tell('unsubscribe', ['email' => $email, 'reason' => 'subscription']);
        }
    }

    public static function onSubscriptionAdd(&$fields): void
    {
        if (is_array($fields) && !empty($fields['EMAIL']) && ($fields['ACTIVE'] ?? 'Y') === 'Y') {
            Site::tell('subscribe', ['email' => (string) $fields['EMAIL']]);
        }
    }

    public static function onOrder($event): void
    {
        $order = self::parameters($event)['ENTITY'] ?? null;
        if (is_object($order) && method_exists($order, 'getId') && $order->getId()) {
            $status = method_exists($order, 'getField') ? (string) $order->getField('STATUS_ID') : '';
            Site::tell('order', ['order_id' => (int) $order->getId(), 'status' => $status]);
        }
    }

    public static function onBasketItem($event): void
    {
        $item = self::parameters($event)['ENTITY'] ?? null;
        if (is_object($item) && method_exists($item, 'getId') && $item->getId()) {
            $buyer = method_exists($item, 'getFUserId') ? (int) $item->getFUserId() : 0;
            Site::tell('basket', ['fuser_id' => $buyer, 'basket_item_id' => (int) $item->getId()]);
        }
    }

    /** Old callers give the array itself, new ones an event around it. */
    private static function parameters($given): array
    {
        if ($given instanceof Event) {
            $given = $given->getParameters();
            $given = isset($given[0]) && is_array($given[0]) ? $given[0] : $given;
        }

        return is_array($given) ? $given : [];
    }

    private static function letterOf(int $recipient): int
    {
        if ($recipient === 0 || !class_exists('\\Bitrix\\Sender\\PostingRecipientTable')) {
            return 0;
        }
        try {
            $row = \Bitrix\Sender\PostingRecipientTable::getRow([
                'select' => ['LETTER_ID' => 'POSTING.MAILING_CHAIN_ID'],
                'filter' => ['=ID' => $recipient],
            ]);

            return (int) ($row['LETTER_ID'] ?? 0);
        } catch (\Throwable $error) {
            return 0;
        }
    }
}
