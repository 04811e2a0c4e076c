<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/**
 * Events that wait to be told, a file each. A file begins with a line of PHP that ends the program, so that a web server
 * which reaches the directory shows nothing of it.
 */
final class Queue
{
    public const LIMIT = 20000;
    private const GUARD = "<?php exit; ?>\n";

    /** @var string */
    private $directory;

    public function __construct(string $directory)
    {
        $this->directory = $directory;
    }

    /** Keeps an event; false when it cannot be kept. `$entry` holds `event`, and for a letter what the site needs to send it. */
    public function put(array $entry): bool
    {
        $text = json_encode($entry, JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
        if ($text === false || !$this->isReady() || count($this->names()) >= self::LIMIT) {
            error_log('lettertrail: the queue is full or cannot be written; an event is lost');

            return false;
        }
        $name = sprintf('%s/%017d-%s', $this->directory, (int) (microtime(true) * 1000000), bin2hex(random_bytes(6)));
        // Under its name only when it is whole.
        return file_put_contents("{$name}.new", self::GUARD . $text) !== false && rename("{$name}.new", "{$name}.php");
    }

    /** @return array<string, array> Name → entry, oldest first. */
    public function first(int $number): array
    {
        $found = [];
        foreach (array_slice($this->names(), 0, $number) as $name) {
            $text = file_get_contents($name);
            $entry = is_string($text) ? json_decode(substr($text, strlen(self::GUARD)), true) : null;
            if (is_array($entry) && isset($entry['event'])) {
                $found[$name] = $entry;
            } else {
                $this->setAside($name);
            }
        }

        return $found;
    }

    /** False when somebody else has taken it away. */
    public function remove(string $name): bool
    {
        return @unlink($name);
    }

    /** What cannot be told stays on disk for a person to look at, and is not tried again. */
    public function setAside(string $name): bool
    {
        error_log('lettertrail: the inbox refuses an event; see ' . basename($name) . '.refused');

        return @rename($name, "{$name}.refused");
    }

    /** Runs `$work` unless another process is at it; gives null then. */
    public function alone(callable $work)
    {
        if (!$this->isReady()) {
            return null;
        }
        $lock = fopen("{$this->directory}/lock", 'c');
        if ($lock === false || !flock($lock, LOCK_EX | LOCK_NB)) {
            return null;
        }
        try {
            return $work();
        } finally {
            flock($lock, LOCK_UN);
            fclose($lock);
        }
    }

    /** The time until which the inbox is left alone, Unix seconds. */
    public function restsUntil(): int
    {
        return (int) @file_get_contents("{$this->directory}/rests-until");
    }

    public function rest(int $until): void
    {
        $this->isReady() && @file_put_contents("{$this->directory}/rests-until", (string) $until);
    }

    /** @return string[] */
    private function names(): array
    {
        return glob("{$this->directory}/*.php") ?: [];
    }

    private function isReady(): bool
    {
        return is_dir($this->directory) || @mkdir($this->directory, 0700, true) || is_dir($this->directory);
    }
}
