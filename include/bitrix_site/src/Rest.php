<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/**
 * REST methods of the site (scope `lettertrail`), because Bitrix has none for mailings:
 *
 *     lettertrail.suppress     emails: up to 50 addresses → {address: applied | already_ok | rejected}
 *     lettertrail.suppressed   after: id → {items: [{id, email}], next: id or null}, 500 at a time
 *
 * An address is put on the blacklist of the sender module (`b_sender_contact.BLACKLISTED`). Nothing here takes it off.
 */
final class Rest
{
    public const SCOPE = 'lettertrail';
    private const MOST = 50;
    private const PAGE = 500;

    public static function describe(): array
    {
        return [
            self::SCOPE => [
                'lettertrail.suppress' => [self::class, 'suppress'],
                'lettertrail.suppressed' => [self::class, 'suppressed'],
            ],
        ];
    }

    public static function suppress(array $query): array
    {
        $emails = array_values((array) ($query['emails'] ?? []));
        if ($emails === [] || count($emails) > self::MOST) {
            throw new \Bitrix\Rest\RestException('Give 1 to ' . self::MOST . ' emails.', 'ERROR_ARGUMENT');
        }
        self::needSender();
        $outcomes = [];
        foreach ($emails as $email) {
            $outcomes[(string) $email] = self::suppressOne(strtolower(trim((string) $email)));
        }

        return ['outcomes' => $outcomes];
    }

    public static function suppressed(array $query): array
    {
        self::needSender();
        $rows = \Bitrix\Sender\ContactTable::getList([
            'select' => ['ID', 'CODE'],
            'filter' => [
                '>ID' => (int) ($query['after'] ?? 0),
                '=TYPE_ID' => \Bitrix\Sender\Recipient\Type::EMAIL,
                '=BLACKLISTED' => 'Y',
            ],
            'order' => ['ID' => 'ASC'],
            'limit' => self::PAGE,
        ])->fetchAll();
        $items = array_map(static function (array $row): array {
            return ['id' => (int) $row['ID'], 'email' => $row['CODE']];
        }, $rows);

        return ['items' => $items, 'next' => count($items) === self::PAGE ? end($items)['id'] : null];
    }

    private static function suppressOne(string $email): string
    {
        if (!check_email($email)) {
            return 'rejected';
        }
        $table = \Bitrix\Sender\ContactTable::class;
        $type = \Bitrix\Sender\Recipient\Type::EMAIL;
        $row = $table::getRow([
            'select' => ['ID', 'BLACKLISTED'],
            'filter' => ['=CODE' => $email, '=TYPE_ID' => $type],
        ]);
        if ($row && $row['BLACKLISTED'] === 'Y') {
            return 'already_ok';
        }
        $done = $row
            ? $table::update($row['ID'], ['BLACKLISTED' => 'Y'])
            : $table::add(['TYPE_ID' => $type, 'CODE' => $email, 'BLACKLISTED' => 'Y']);

        return $done->isSuccess() ? 'applied' : 'rejected';
    }

    private static function needSender(): void
    {
        if (!\Bitrix\Main\Loader::includeModule('sender')) {
            throw new \Bitrix\Rest\RestException('The module sender is not installed.', 'ERROR_MODULE');
        }
    }
}
