<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/** Posts events to the inbox, signed. Waits a few seconds at most, and never throws. */
final class Inbox
{
    /** It has them on disk. */
    public const TAKEN = 'taken';
    /** It certainly has not: nobody was there, or it said no. */
    public const REFUSED = 'refused';
    /** Certainly not, and never will: asking again is no use. */
    public const UNWANTED = 'unwanted';
    /** It may have: no answer came, or one from on the way. */
    public const UNKNOWN = 'unknown';

    private const UNWANTED_STATUSES = [400, 413, 422];

    /** @var Config */
    private $config;

    public function __construct(Config $config)
    {
        $this->config = $config;
    }

    /** @param array[] $events At most 100. */
    public function post(array $events): string
    {
        $body = json_encode(
            ['events' => $events],
            JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE
        );
        $parts = parse_url($this->config->url);
        if ($body === false || !is_array($parts) || empty($parts['host'])) {
            return self::UNWANTED;
        }
        $isSecure = ($parts['scheme'] ?? 'https') === 'https';
        $port = $parts['port'] ?? ($isSecure ? 443 : 80);
        $connection = @stream_socket_client(
            ($isSecure ? 'tls' : 'tcp') . "://{$parts['host']}:{$port}",
            $code,
            $text,
            $this->config->connectSeconds,
            STREAM_CLIENT_CONNECT,
            stream_context_create(['ssl' => ['peer_name' => $parts['host'], 'SNI_enabled' => true]])
        );
        if ($connection === false) {
            return self::REFUSED;
        }
        try {
            return $this->ask($connection, $parts, $body);
        } finally {
            fclose($connection);
        }
    }

    /** @param resource $connection */
    private function ask($connection, array $parts, string $body): string
    {
        $time = (string) time();
        $path = ($parts['path'] ?? '/') . (isset($parts['query']) ? "?{$parts['query']}" : '');
        $head = [
            "POST {$path} HTTP/1.1",
            "Host: {$parts['host']}" . (isset($parts['port']) ? ":{$parts['port']}" : ''),
            'Content-Type: application/json',
            'Content-Length: ' . strlen($body),
            "X-LetterTrail-Time: {$time}",
            'X-LetterTrail-Signature: ' . hash_hmac('sha256', "{$time}.{$body}", $this->config->secret),
            'Connection: close',
        ];
        $deadline = microtime(true) + $this->config->answerSeconds;
        stream_set_blocking($connection, false);
        if (!$this->write($connection, implode("\r\n", $head) . "\r\n\r\n" . $body, $deadline)) {
            return self::UNKNOWN;
        }
        $answer = '';
        while (strpos($answer, "\r\n") === false) {
            if (!$this->wait($connection, $deadline, false)) {
                return self::UNKNOWN;
            }
            $piece = fread($connection, 1024);
            if ($piece === false || ($piece === '' && feof($connection))) {
                return self::UNKNOWN;
            }
            $answer .= $piece;
        }

        return self::meaning($answer);
    }

    /** @param resource $connection */
    private function write($connection, string $text, float $deadline): bool
    {
        while ($text !== '') {
            if (!$this->wait($connection, $deadline, true)) {
                return false;
            }
            $written = @fwrite($connection, $text);
            if ($written === false) {
                return false;
            }
            $text = (string) substr($text, $written);
        }

        return true;
    }

    /** @param resource $connection */
    private function wait($connection, float $deadline, bool $isWriting): bool
    {
        $left = $deadline - microtime(true);
        $none = null;
        $reading = $isWriting ? [] : [$connection];
        $writing = $isWriting ? [$connection] : [];

        return $left > 0
            && @stream_select($reading, $writing, $none, (int) $left, (int) (($left - (int) $left) * 1000000)) === 1;
    }

    private static function meaning(string $answer): string
    {
        $status = preg_match('~^HTTP/1\.[01] (\d{3})~', $answer, $found) ? (int) $found[1] : 0;
        if ($status === 200) {
            return self::TAKEN;
        }
        if (in_array($status, self::UNWANTED_STATUSES, true)) {
            return self::UNWANTED;
        }

        return $status >= 400 && $status < 500 && $status !== 408 ? self::REFUSED : self::UNKNOWN;
    }
}
