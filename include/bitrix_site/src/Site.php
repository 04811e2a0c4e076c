<?php

declare(strict_types=1);

namespace LetterTrail\Site;

use Bitrix\Main\EventManager;

/** Ties the handler to the site's events. */
final class Site
{
    private const AGENT = '\\LetterTrail\\Site\\Site::agent();';

    /** @var Config|null */
    private static $config;
    /** @var bool */
    private static $isSendingLater = false;

    public static function start(string $configPath): void
    {
        self::$config = Config::read($configPath);
        if (self::$config === null) {
            return;
        }
        $manager = EventManager::getInstance();
        foreach (Events::HANDLERS as [$type, $module, $event, $method]) {
            if (in_array($type, self::$config->events, true)) {
                $manager->addEventHandlerCompatible($module, $event, [Events::class, $method]);
            }
        }
        $manager->addEventHandlerCompatible('rest', 'OnRestServiceBuildDescription', [Rest::class, 'describe']);
        if (self::$config->mail !== []) {
            $manager->addEventHandlerCompatible('main', 'OnBeforeEventAdd', [Mail::class, 'onBeforeEventAdd']);
            $manager->addEventHandlerCompatible('main', 'OnBeforeEventSend', [Mail::class, 'onBeforeEventSend']);
        }
        $manager->addEventHandlerCompatible('main', 'OnEpilog', [self::class, 'ensureAgent']);
    }

    public static function config(): Config
    {
        return self::$config;
    }

    /** Keeps an event for the inbox, and sees that it is told when the visitor has his page. */
    public static function tell(string $type, array $data): void
    {
        try {
            (new Queue(self::$config->queue))->put(['event' => self::event($type, $data), 'queued_at' => time()]);
            self::sendLater();
        } catch (\Throwable $error) {
            // The site goes on, whatever happens here.
            error_log('lettertrail: an event could not be kept: ' . get_class($error));
        }
    }

    public static function event(string $type, array $data, string $id = ''): array
    {
        return [
            'id' => $id !== '' ? $id : bin2hex(random_bytes(16)),
            'type' => $type,
            'at' => gmdate('Y-m-d\TH:i:s\Z'),
            'data' => (object) $data,
        ];
    }

    public static function courier(): Courier
    {
        return new Courier(new Queue(self::$config->queue), new Inbox(self::$config));
    }

    /** Called by Bitrix once a minute; says how it is to be called again. */
    public static function agent(): string
    {
        try {
            if (self::$config !== null) {
                self::courier()->run();
            }
        } catch (\Throwable $error) {
            error_log('lettertrail: the queue could not be sent: ' . get_class($error));
        }

        return self::AGENT;
    }

    /** The agent is made once; a file remembers that it was. */
    public static function ensureAgent(): void
    {
        $mark = self::$config->queue . '/agent';
        if (is_file($mark) || !class_exists('CAgent')) {
            return;
        }
        \CAgent::AddAgent(self::AGENT, 'main', 'N', 60);
        is_dir(self::$config->queue) || @mkdir(self::$config->queue, 0700, true);
        @touch($mark);
    }

    /** Only where the visitor does not wait for it; elsewhere the agent does it. */
    private static function sendLater(): void
    {
        if (self::$isSendingLater || !function_exists('fastcgi_finish_request')) {
            return;
        }
        self::$isSendingLater = true;
        register_shutdown_function(static function (): void {
            fastcgi_finish_request();
            self::agent();
        });
    }
}
