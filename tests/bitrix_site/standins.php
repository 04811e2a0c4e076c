<?php

/*
 * The part of Bitrix that the handler calls, small: events, mail events, the sender module's contacts. Signatures are
 * those of Bitrix' own classes. What it keeps is in one JSON file, for the tests to read.
 */

namespace {
    final class Store
    {
        public static $path;

        public static function read(): array
        {
            $empty = ['contacts' => [], 'sent' => [], 'agents' => [], 'subscriptions' => [], 'recipients' => []];

            return (is_file(self::$path) ? json_decode(file_get_contents(self::$path), true) : []) + $empty;
        }

        public static function change(callable $how): void
        {
            $all = self::read();
            $how($all);
            file_put_contents(self::$path, json_encode($all, JSON_UNESCAPED_UNICODE));
        }
    }

    class CAgent
    {
        public static function AddAgent($name, $module = '', $period = 'N', $interval = 86400)
        {
            Store::change(static function (array &$all) use ($name, $interval): void {
                $all['agents'][] = [$name, $interval];
            });
        }
    }

    class CSubscription
    {
        public static function GetByID($id)
        {
            $row = Store::read()['subscriptions'][$id] ?? false;

            return new class($row) {
                private $row;

                public function __construct($row)
                {
                    $this->row = $row;
                }

                public function Fetch()
                {
                    return $this->row;
                }
            };
        }
    }

    function check_email($email)
    {
        return filter_var($email, FILTER_VALIDATE_EMAIL) !== false;
    }

    function GetModuleEvents($module, $event)
    {
        return \Bitrix\Main\EventManager::getInstance()->handlers[strtolower("{$module} {$event}")] ?? [];
    }

    function ExecuteModuleEventEx($handler, array $arguments)
    {
        return call_user_func_array($handler, $arguments);
    }

    if (getenv('HAS_FASTCGI')) {
        function fastcgi_finish_request()
        {
            echo "the visitor has his page\n";
        }
    }
}

namespace Bitrix\Main {
    class EventManager
    {
        public $handlers = [];
        private static $instance;

        public static function getInstance()
        {
            return self::$instance = self::$instance ?? new self();
        }

        public function addEventHandlerCompatible($module, $event, $callback)
        {
            $this->handlers[strtolower("{$module} {$event}")][] = $callback;
        }
    }

    class Event
    {
        private $parameters;

        public function __construct($module, $type, array $parameters)
        {
            $this->parameters = $parameters;
        }

        public function getParameters()
        {
            return $this->parameters;
        }
    }

    class Loader
    {
        public static function includeModule($module)
        {
            return !getenv('NO_' . strtoupper($module));
        }
    }

    class Result
    {
        public function isSuccess()
        {
            return true;
        }
    }
}

namespace Bitrix\Main\Mail {
    class EventMessageCompiler
    {
        private $given;

        public static function createInstance(array $given)
        {
            $made = new self();
            $made->given = $given;

            return $made;
        }

        public function compile()
        {
            if (getenv('COMPILER_FAILS')) {
                throw new \RuntimeException('a component of the template failed');
            }
        }

        public function getMailTo()
        {
            return $this->filled('EMAIL_TO');
        }

        public function getMailSubject()
        {
            return $this->filled('SUBJECT');
        }

        public function getMailBody()
        {
            return $this->filled('MESSAGE');
        }

        public function getMailContentType()
        {
            return $this->given['MESSAGE']['BODY_TYPE'];
        }

        public function getMailHeaders()
        {
            $headers = ['From' => $this->filled('EMAIL_FROM')];
            foreach (['BCC' => 'BCC', 'CC' => 'CC', 'REPLY_TO' => 'Reply-To'] as $name => $header) {
                if (!empty($this->given['MESSAGE'][$name])) {
                    $headers[$header] = $this->filled($name);
                }
            }

            return $headers;
        }

        private function filled($name)
        {
            $text = $this->given['MESSAGE'][$name] ?? '';
            foreach ($this->given['FIELDS'] as $field => $value) {
                $text = str_replace("#{$field}#", $value, $text);
            }

            return $text;
        }
    }

    class Event
    {
        /** As the site queues and sends it; gives the flag of the row in b_event. */
        public static function send(array $data)
        {
            $name = $data['EVENT_NAME'];
            $site = $data['LID'];
            $fields = $data['C_FIELDS'];
            $messageId = $data['MESSAGE_ID'] ?? '';
            $files = $data['FILE'] ?? [];
            $language = '';
            foreach (GetModuleEvents('main', 'OnBeforeEventAdd') as $handler) {
                ExecuteModuleEventEx($handler, [&$name, &$site, &$fields, &$messageId, &$files, &$language]);
            }

            return self::sendImmediate(['C_FIELDS' => $fields] + $data);
        }

        public static function sendImmediate(array $data)
        {
            $result = ['Success' => false, 'Fail' => false, 'Was' => false];
            foreach (self::templates($data['EVENT_NAME']) as $message) {
                $fields = $data['C_FIELDS'];
                foreach (GetModuleEvents('main', 'OnBeforeEventSend') as $handler) {
                    if (ExecuteModuleEventEx($handler, [&$fields, &$message, null, &$result]) === false) {
                        continue 2;
                    }
                }
                \Store::change(static function (array &$all) use ($data, $fields, $message): void {
                    $all['sent'][] = [$data['EVENT_NAME'], (int) $message['ID'], $fields['EMAIL'] ?? ''];
                });
                $result['Was'] = $result['Success'] = true;
            }

            return $result['Was'] ? ($result['Success'] ? 'Y' : 'F') : '0';
        }

        private static function templates($name)
        {
            return array_filter(json_decode(getenv('TEMPLATES') ?: '[]', true), static function ($message) use ($name) {
                return $message['EVENT_NAME'] === $name;
            });
        }
    }
}

namespace Bitrix\Sender\Recipient {
    class Type
    {
        public const EMAIL = 1;
    }
}

namespace Bitrix\Sender {
    class ContactTable
    {
        public static function getRow(array $how)
        {
            foreach (\Store::read()['contacts'] as $row) {
                if ($row['CODE'] === $how['filter']['=CODE'] && $row['TYPE_ID'] === $how['filter']['=TYPE_ID']) {
                    return $row;
                }
            }

            return null;
        }

        public static function getList(array $how)
        {
            $rows = array_filter(\Store::read()['contacts'], static function ($row) use ($how) {
                return $row['ID'] > $how['filter']['>ID'] && $row['BLACKLISTED'] === $how['filter']['=BLACKLISTED'];
            });

            return new class(array_slice(array_values($rows), 0, $how['limit'])) {
                private $rows;

                public function __construct($rows)
                {
                    $this->rows = $rows;
                }

                public function fetchAll()
                {
                    return $this->rows;
                }
            };
        }

        public static function update($id, array $fields)
        {
            \Store::change(static function (array &$all) use ($id, $fields): void {
                $all['contacts'][$id - 1] = $fields + $all['contacts'][$id - 1];
            });

            return new \Bitrix\Main\Result();
        }

        public static function add(array $fields)
        {
            \Store::change(static function (array &$all) use ($fields): void {
                $all['contacts'][] = ['ID' => count($all['contacts']) + 1] + $fields;
            });

            return new \Bitrix\Main\Result();
        }
    }

    class PostingRecipientTable
    {
        public static function getRow(array $how)
        {
            $letter = \Store::read()['recipients'][$how['filter']['=ID']] ?? null;

            return $letter === null ? null : ['LETTER_ID' => $letter];
        }
    }
}

namespace Bitrix\Rest {
    class RestException extends \Exception
    {
        public function __construct($message, $code = '')
        {
            parent::__construct("{$code}: {$message}");
        }
    }
}
