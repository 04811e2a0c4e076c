<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/** What config.php says, checked. */
final class Config
{
    public const EVENTS = ['unsubscribe', 'subscribe', 'order', 'basket'];

    /** @var string */
    public $url;
    /** @var string */
    public $secret;
    /** @var string[] */
    public $events;
    /** @var string[] */
    public $mail;
    /** @var string */
    public $queue;
    /** @var float Seconds to reach the inbox. */
    public $connectSeconds = 1.0;
    /** @var float Seconds to wait for its answer. */
    public $answerSeconds = 3.0;

    /** Null when there is no such file, or it is not filled in: then nothing is done. */
    public static function read(string $path): ?self
    {
        if (!is_file($path)) {
            return null;
        }
        $given = include $path;
        if (!is_array($given) || empty($given['url']) || empty($given['secret']) || empty($given['queue'])) {
            error_log('lettertrail: config.php needs url, secret and queue; nothing is done');

            return null;
        }
        $config = new self();
        $config->url = (string) $given['url'];
        $config->secret = (string) $given['secret'];
        $config->queue = rtrim((string) $given['queue'], '/');
        $config->events = array_values(array_intersect(self::EVENTS, (array) ($given['events'] ?? self::EVENTS)));
        $config->mail = array_map('strval', (array) ($given['mail'] ?? []));
        $config->connectSeconds = (float) ($given['connect_seconds'] ?? $config->connectSeconds);
        $config->answerSeconds = (float) ($given['answer_seconds'] ?? $config->answerSeconds);

        return $config;
    }
}
