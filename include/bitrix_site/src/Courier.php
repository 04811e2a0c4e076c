<?php

declare(strict_types=1);

namespace LetterTrail\Site;

/** Takes what waits in the queue to the inbox; what it does not take stays, under the same id. */
final class Courier
{
    private const BULK = 100;
    /** After a failure the inbox is left alone for so many seconds. */
    private const REST = 60;
    /** A letter the inbox may or may not have is sent by the site after so many seconds. */
    private const LETTER_WAITS = 600;

    /** @var Queue */
    private $queue;
    /** @var Inbox */
    private $inbox;

    public function __construct(Queue $queue, Inbox $inbox)
    {
        $this->queue = $queue;
        $this->inbox = $inbox;
    }

    /** Gives how many events were taken. */
    public function run(): int
    {
        if ($this->queue->restsUntil() > time()) {
            return 0;
        }

        return (int) $this->queue->alone(function (): int {
            $taken = 0;
            while ($entries = $this->queue->first(self::BULK)) {
                $count = $this->deliver($entries);
                $taken += $count;
                if ($count < count($entries)) {
                    break;
                }
            }

            return $taken;
        });
    }

    /** @param array<string, array> $entries Name → entry. */
    private function deliver(array $entries): int
    {
        $answer = $this->inbox->post(array_column($entries, 'event'));
        if ($answer === Inbox::TAKEN) {
            foreach ($entries as $name => $entry) {
                $this->queue->remove($name);
            }

            return count($entries);
        }
        if ($answer === Inbox::UNWANTED) {
            return $this->deliverOneByOne($entries);
        }
        $this->queue->rest(time() + self::REST);
        foreach ($entries as $name => $entry) {
            $this->sendByTheSite($name, $entry, time() - self::LETTER_WAITS);
        }

        return 0;
    }

    /** One of them spoils the rest. */
    private function deliverOneByOne(array $entries): int
    {
        $settled = 0;
        foreach ($entries as $name => $entry) {
            $answer = $this->inbox->post([$entry['event']]);
            if ($answer === Inbox::UNWANTED) {
                $this->sendByTheSite($name, $entry, time()) || $this->queue->setAside($name);
            } elseif ($answer === Inbox::TAKEN) {
                $this->queue->remove($name);
            } else {
                $this->queue->rest(time() + self::REST);
                break;
            }
            ++$settled;
        }

        return $settled;
    }

    /** A letter that waits since before `$notAfter` goes out as the site always did. True when it was one. */
    private function sendByTheSite(string $name, array $entry, int $notAfter): bool
    {
        if (!isset($entry['own_mail']) || ($entry['queued_at'] ?? 0) > $notAfter) {
            return false;
        }
        // First out of the queue: whatever happens now, there will be no second one.
        if ($this->queue->remove($name)) {
            Mail::sendByTheSite($entry['own_mail']);
        }

        return true;
    }
}
